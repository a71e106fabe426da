#include <nlohmann/json.hpp>

#include <charconv>

#include "base/encoding.h"
#include "server/api/handlers.h"
#include "server/api/problem.h"
#include "server/api/reply.h"
#include "server/api/request_reader.h"
#include "server/api/text.h"
#include "server/files/file_transfer.h"

namespace gs::handlers {
namespace {

using OperationPtr = std::unique_ptr<FileOperation>;

std::unexpected<Error> wrong(std::string pointer, std::string detail) { return fail(invalidRequest({{std::move(pointer), std::move(detail)}})); }

Result<std::string> pathOf(const ApiCall& call) {
  const auto text = call.query().find("path");
  const auto bytes = call.query().find("pathBase64");
  if ((text == call.query().end()) == (bytes == call.query().end())) return wrong("/query/path", "or pathBase64 must be there, and not both");
  if (text != call.query().end()) {
    auto path = text->get<std::string>();
    if (path.size() > kMaxFilePath) return wrong("/query/path", "has more than 4,095 bytes");
    return path;
  }
  auto path = fromBase64Url(bytes->get<std::string>());
  if (!path || path->empty() || path->front() != '/' || path->size() > kMaxFilePath || path->find('\0') != std::string::npos) {
    return wrong("/query/pathBase64", "is not base64url of an absolute path without zero bytes");
  }
  return path;
}

Task<Result<OperationPtr>> begin(Api& api, ApiCall& call, decltype(FileRequest::operation) operation) {
  GS_CO_TRY(auto path, pathOf(call));
  GS_CO_TRY(auto begun, co_await api.parts().files.begin(call.actor, call.id<SandboxId>("sandboxId"), {std::move(path), std::move(operation)}));
  begun->watchClient(call.request.clientLeft);
  co_return begun;
}

// Names are bytes, JSON is text: what is no UTF-8 is shown as well as can be, and given exactly beside it.
void putName(Json& out, const std::string& key, const std::string& name) {
  if (isUtf8(name)) {
    out[key] = name;
    return;
  }
  std::string shown = Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
  out[key] = Json::parse(shown);
  out[key + "Base64"] = toBase64Url(name);
}

Json viewOf(const FileInfo& info) {
  Json out{{"type", fileTypeText(info.type)}, {"sizeBytes", info.sizeBytes},  {"mode", fmt::format("{:04o}", info.mode)},
           {"uid", info.uid},                 {"gid", info.gid},              {"modifiedAt", fileTimeText(info.modified)},
           {"version", info.version}};
  putName(out, "name", info.name);
  if (info.type == FileType::kLink) putName(out, "linkTarget", info.linkTarget);
  if (!info.sha256.empty()) out["sha256"] = Digest::fromRaw(info.sha256).hex();
  return out;
}

std::optional<std::uint32_t> modeOf(const ApiCall& call) {
  const auto found = call.query().find("mode");
  if (found == call.query().end()) return std::nullopt;
  return static_cast<std::uint32_t>(std::stoul(found->get<std::string>(), nullptr, 8));
}

std::optional<std::uint32_t> numberOf(const ApiCall& call, const char* name) {
  const auto found = call.query().find(name);
  if (found == call.query().end()) return std::nullopt;
  return found->get<std::uint32_t>();
}

std::uint64_t bytesOf(const ApiCall& call, const char* name) { return call.query().value(name, std::uint64_t{0}); }
bool flagOf(const ApiCall& call, const char* name) { return call.query().value(name, false); }

struct Range {
  std::uint64_t first = 0;
  std::uint64_t length = 0;  // 0: to the end
};

// "bytes=5-" and "bytes=5-9". Nothing: another form, which RFC 9110 §14.2 lets us ignore.
std::optional<Range> rangeOf(const ApiCall& call) {
  const auto found = call.headers.find("Range");
  if (found == call.headers.end()) return std::nullopt;
  std::string_view text = found->second;
  constexpr std::string_view kUnit = "bytes=";
  if (!text.starts_with(kUnit)) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const char* const end = text.data() + text.size();
  Range range;
  const auto [dash, code] = std::from_chars(text.data(), end, range.first);
  if (code != std::errc() || dash == end || *dash != '-' || range.first > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  if (dash + 1 == end) return range;
  std::uint64_t last = 0;
  const auto [stop, lastCode] = std::from_chars(dash + 1, end, last);
  if (lastCode != std::errc() || stop != end || last < range.first) return std::nullopt;
  range.length = last - range.first + 1;
  return range.length == 0 ? std::nullopt : std::optional(range);
}

Error notSatisfiable(std::uint64_t first) {
  return makeError(ErrorCode::kFailedPrecondition, fmt::format("the file has no byte {}", first)).withReason("range_not_satisfiable");
}

}  // namespace

Task<Result<HttpResponse>> readFile(Api& api, ApiCall& call) {
  const auto range = rangeOf(call);
  ReadFile read;
  if (range) read = {range->first, range->length, {}};
  read.version = call.query().value("version", std::string());
  GS_CO_TRY(auto operation, co_await begin(api, call, std::move(read)));
  auto info = co_await readInfo(*operation, kFilePatience);
  if (!info && range && info.error().reason == "wrong_offset") co_return fail(notSatisfiable(range->first));
  if (!info) co_return fail(std::move(info).error());
  HttpResponse response;
  response.headers.set("Content-Type", "application/octet-stream");
  response.headers.set("ETag", fmt::format("\"{}\"", info->version));
  std::optional<std::uint64_t> size;
  if (!info->sizeUnknown) {
    if (range && range->first >= info->sizeBytes) co_return fail(notSatisfiable(range->first));
    const std::uint64_t first = range ? range->first : 0;
    size = info->sizeBytes - first;
    if (range && range->length > 0) size = std::min(*size, range->length);
    if (range) {
      response.status = 206;
      response.headers.set("Content-Range", fmt::format("bytes {}-{}/{}", first, first + *size - 1, info->sizeBytes));
    }
  }
  response.stream = fileBody(std::move(operation), size);
  co_return response;
}

Task<Result<HttpResponse>> writeFile(Api& api, ApiCall& call) {
  WriteFile write;
  write.key = call.query().value("upload", std::string());
  write.offset = bytesOf(call, "offset");
  if (write.offset > 0 && write.key.empty()) co_return wrong("/query/offset", "needs upload");
  if (call.request.contentLength) write.sizeBytes = write.offset + *call.request.contentLength;
  write.mode = modeOf(call);
  write.uid = numberOf(call, "uid");
  write.gid = numberOf(call, "gid");
  if (const auto at = call.query().find("modifiedAt"); at != call.query().end()) {
    auto time = parseFileTime(at->get<std::string>());
    if (!time) co_return wrong("/query/modifiedAt", time.error().message);
    write.modified = *time;
  }
  GS_CO_TRY(auto operation, co_await begin(api, call, std::move(write)));
  BoundedBody body(call.bodyReader, call.operation->maxBodyBytes);
  GS_CO_TRY(const auto result, co_await upload(*operation, body));
  if (!result.info) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest broke the protocol: no file after an upload");
  co_return jsonReply(200, viewOf(*result.info));
}

Task<Result<HttpResponse>> removeFile(Api& api, ApiCall& call) {
  GS_CO_TRY(auto operation, co_await begin(api, call, RemoveFile{flagOf(call, "recursive")}));
  GS_CO_TRY(const auto done, co_await readDone(*operation, kSilentFilePatience));
  static_cast<void>(done);
  co_return emptyReply();
}

Task<Result<HttpResponse>> statFile(Api& api, ApiCall& call) {
  GS_CO_TRY(auto operation, co_await begin(api, call, StatFile{flagOf(call, "follow"), bytesOf(call, "digestBytes")}));
  GS_CO_TRY(const auto info, co_await readInfo(*operation, kSilentFilePatience));
  GS_CO_TRY(const auto done, co_await readDone(*operation, kFilePatience));
  static_cast<void>(done);
  co_return jsonReply(200, viewOf(info));
}

Task<Result<HttpResponse>> listFiles(Api& api, ApiCall& call) {
  ListDirectory list;
  list.limit = call.query().value("limit", std::uint32_t{200});
  if (const auto cursor = call.query().find("cursor"); cursor != call.query().end()) {
    auto after = fromBase64Url(cursor->get<std::string>());
    if (!after) co_return wrong("/query/cursor", "is not one that the server made");
    list.after = std::move(*after);
  }
  const std::size_t limit = list.limit;
  GS_CO_TRY(auto operation, co_await begin(api, call, std::move(list)));
  std::vector<Json> items;
  std::string last;
  while (true) {
    GS_CO_TRY(auto answer, co_await operation->next(kFilePatience));
    if (auto* entry = std::get_if<FileEntry>(&answer); entry != nullptr && items.size() < limit) {
      items.push_back(viewOf(entry->info));
      last = std::move(entry->info.name);
      continue;
    }
    const auto* done = std::get_if<FileDone>(&answer);
    if (done == nullptr) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest broke the protocol: an answer out of order");
    co_return listReply(std::move(items), done->more && !last.empty() ? toBase64Url(last) : std::string());
  }
}

Task<Result<HttpResponse>> makeDirectory(Api& api, ApiCall& call) {
  GS_CO_TRY(auto operation, co_await begin(api, call, MakeDirectory{modeOf(call).value_or(0755), flagOf(call, "parents")}));
  GS_CO_TRY(const auto info, co_await readInfo(*operation, kFilePatience));
  GS_CO_TRY(const auto done, co_await readDone(*operation, kFilePatience));
  static_cast<void>(done);
  co_return jsonReply(200, viewOf(info));
}

Task<Result<HttpResponse>> readFileTree(Api& api, ApiCall& call) {
  GS_CO_TRY(auto operation, co_await begin(api, call, ReadTree{flagOf(call, "contents")}));
  // Waited for, so that what is wrong from the beginning has a status of its own.
  GS_CO_TRY(auto first, co_await operation->next(kFilePatience));
  auto* data = std::get_if<FileData>(&first);
  if (data == nullptr) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest broke the protocol: a tar without a beginning");
  HttpResponse response;
  response.headers.set("Content-Type", "application/x-tar");
  response.stream = treeBody(std::move(operation), std::move(data->bytes));
  co_return response;
}

Task<Result<HttpResponse>> writeFileTree(Api& api, ApiCall& call) {
  GS_CO_TRY(auto operation, co_await begin(api, call, WriteTree{}));
  BoundedBody body(call.bodyReader, call.operation->maxBodyBytes);
  GS_CO_TRY(const auto result, co_await upload(*operation, body));
  co_return jsonReply(200, {{"entries", result.done.entries}, {"sizeBytes", result.done.bytes}});
}

}  // namespace gs::handlers

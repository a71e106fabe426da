#include "cli/file_api.h"

#include <nlohmann/json.hpp>

#include "async/with_deadline.h"
#include "base/encoding.h"
#include "cli/api_transport.h"
#include "cli/failure.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

// The server gives up after a minute without progress; a transfer as a whole may take as long as it takes.
constexpr Millis kMaxSilence{90'000};
constexpr Millis kLook{2'000};
constexpr Millis kWholeTransfer{7LL * 24 * 3600 * 1000};
constexpr std::size_t kMaxProblem = 256 * 1024;

class PulledBody final : public BodySource {
 public:
  PulledBody(FileApi::Pull pull, std::optional<std::uint64_t> sizeBytes, std::shared_ptr<SteadyTime> lastPull)
      : pull_(std::move(pull)), size_(sizeBytes), lastPull_(std::move(lastPull)) {}
  Task<Result<std::string>> next() override {
    *lastPull_ = std::chrono::steady_clock::now();
    co_return pull_();
  }
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return size_; }

 private:
  FileApi::Pull pull_;
  std::optional<std::uint64_t> size_;
  std::shared_ptr<SteadyTime> lastPull_;
};

Task<void> untilSilent(std::shared_ptr<SteadyTime> lastPull) {
  while (std::chrono::steady_clock::now() - *lastPull < kMaxSilence) co_await sleepFor(kLook);
}

// A connection that has died without a word would take the rest of the body for ever.
Task<Result<HttpClientResponse>> send(HttpClient& http, HttpClientRequest request, Deadline deadline, std::shared_ptr<SteadyTime> lastPull) {
  using namespace boost::asio::experimental::awaitable_operators;
  auto winner = co_await (http.send(std::move(request), deadline) || untilSilent(std::move(lastPull)));
  if (winner.index() == 0) co_return std::move(std::get<0>(winner));
  co_return fail(ErrorCode::kUnavailable, "no progress for a minute and a half");
}

Task<Status> receive(HttpClient& http, HttpClientRequest request, Deadline deadline, const FileApi::Push* push) {
  GS_CO_TRY(const auto answer, co_await http.open(std::move(request), deadline));
  if (answer->status() != 200 && answer->status() != 206) {
    GS_CO_TRY(const auto body, co_await readAll(*answer, kMaxProblem));
    co_return fail(errorFromAnswer(answer->status(), answer->headers().find("Content-Type").value_or(""), body));
  }
  while (true) {
    GS_CO_TRY(const auto piece, co_await withDeadline(Deadline::after(kMaxSilence), "the next piece", answer->next()));
    if (piece.empty()) co_return Status();
    GS_CO_CHECK((*push)(piece));
  }
}

Error explained(Error error, const std::string& baseUrl) {
  if (error.code == ErrorCode::kUnavailable && requestIdOf(error).empty()) error.message = fmt::format("cannot talk to {}: {}", baseUrl, error.message);
  return error;
}

bool isPlainText(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f; });
}

}  // namespace

std::pair<std::string, std::string> pathParameter(std::string_view path) {
  if (isPlainText(path)) return {"path", std::string(path)};
  return {"pathBase64", toBase64Url(path)};
}

std::string nameAt(const Json& object, const std::string& key) {
  if (const auto bytes = textAt(object, key + "Base64"); !bytes.empty()) {
    if (auto name = fromBase64Url(bytes)) return std::move(*name);
  }
  return textAt(object, key);
}

Result<Json> FileApi::stat(const std::string& path, Query query) {
  query.push_back(pathParameter(path));
  return api_.get(base_ + "/stat", std::move(query), Millis(600'000));
}

Result<std::optional<Json>> FileApi::find(const std::string& path) {
  auto info = stat(path, {{"follow", "true"}});
  if (info) return std::optional(std::move(*info));
  if (info.error().reason == "file_not_found") return std::optional<Json>();
  return fail(std::move(info).error());
}

Result<std::vector<Json>> FileApi::list(const std::string& path) { return api_.list(base_ + "/list", {pathParameter(path)}); }

Status FileApi::remove(const std::string& path, bool recursive) {
  Query query{pathParameter(path)};
  if (recursive) query.emplace_back("recursive", "true");
  GS_TRY(const Json gone, api_.remove(base_, std::move(query)));
  static_cast<void>(gone);
  return {};
}

Result<Json> FileApi::makeDirectory(const std::string& path, Query query) {
  query.push_back(pathParameter(path));
  return api_.post(pathWith(base_ + "/directories", query));
}

Status FileApi::read(const std::string& path, std::uint64_t offset, const std::string& version, const Push& push) {
  Query query{pathParameter(path)};
  if (!version.empty()) query.emplace_back("version", version);
  return download(pathWith(base_, query), offset > 0 ? fmt::format("bytes={}-", offset) : std::string(), push);
}

Result<Json> FileApi::write(const std::string& path, Query query, std::uint64_t sizeBytes, Pull pull) {
  query.push_back(pathParameter(path));
  return upload(pathWith(base_, query), "application/octet-stream", sizeBytes, std::move(pull));
}

Status FileApi::readTree(const std::string& path, bool contents, const Push& push) {
  Query query{pathParameter(path)};
  if (contents) query.emplace_back("contents", "true");
  return download(pathWith(base_ + "/tree", query), {}, push);
}

Result<Json> FileApi::writeTree(const std::string& path, Pull pull) {
  return upload(pathWith(base_ + "/tree", {pathParameter(path)}), "application/x-tar", std::nullopt, std::move(pull));
}

Status FileApi::download(std::string target, std::string range, const Push& push) {
  auto& transport = api_.transport();
  HttpClientRequest request;
  request.target = std::move(target);
  request.headers = transport.headers();
  request.headers.set("Accept", "application/octet-stream, application/x-tar, application/problem+json");
  if (!range.empty()) request.headers.set("Range", std::move(range));
  auto done = runTask(transport.loop, receive(*transport.http, std::move(request), Deadline::after(timeout_.value_or(kMaxSilence)), &push));
  if (!done) return fail(explained(std::move(done).error(), api_.baseUrl()));
  return {};
}

Result<Json> FileApi::upload(std::string target, std::string contentType, std::optional<std::uint64_t> sizeBytes, Pull pull) {
  auto& transport = api_.transport();
  HttpClientRequest request;
  request.method = "PUT";
  request.target = std::move(target);
  request.headers = transport.headers();
  request.headers.set("Accept", "application/json, application/problem+json");
  request.headers.set("Content-Type", std::move(contentType));
  const auto lastPull = std::make_shared<SteadyTime>(std::chrono::steady_clock::now());
  request.stream = std::make_unique<PulledBody>(std::move(pull), sizeBytes, lastPull);
  auto answer = transport.run(send(*transport.http, std::move(request), Deadline::after(timeout_.value_or(kWholeTransfer)), lastPull));
  if (!answer) return fail(explained(std::move(answer).error(), api_.baseUrl()));
  if (answer->status != 200) return fail(errorFromAnswer(answer->status, answer->headers.find("Content-Type").value_or(""), answer->body));
  return parseJson(answer->body);
}

}  // namespace gs::cli

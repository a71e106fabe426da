#include "server/api/request_reader.h"

#include <nlohmann/json.hpp>

#include <charconv>

#include "server/api/problem.h"
#include "server/api/text.h"

namespace gs {
namespace {

constexpr int kMaxDepth = 16;

Json asInteger(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = code == std::errc{} && end == text.data() + text.size() && !text.empty();
  return whole ? Json(value) : Json(text);  // the validator says that a text is no integer
}

Json asList(std::string_view text) {
  Json out = Json::array();
  while (true) {
    const auto comma = text.find(',');
    out.push_back(std::string(text.substr(0, comma)));
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

Json typed(const Parameter& parameter, const std::string& text) {
  switch (parameter.type) {
    case ParameterType::kInteger: return asInteger(text);
    case ParameterType::kBoolean: return text == "true" ? Json(true) : text == "false" ? Json(false) : Json(text);
    case ParameterType::kList: return asList(text);
    case ParameterType::kText: return text;
  }
  return text;
}

void append(std::vector<Fault>& faults, std::vector<Fault> more) {
  for (auto& fault : more) {
    if (faults.size() < kMaxFaults) faults.push_back(std::move(fault));
  }
}

// The value as the contract wants it, or faults.
std::optional<Json> checked(const Parameter& parameter, const std::string& text, const std::string& pointer,
                            std::vector<Fault>& faults) {
  if (!isUtf8(text) || text.find('\0') != std::string::npos) {
    faults.push_back({pointer, "is not UTF-8 text without U+0000"});
    return std::nullopt;
  }
  Json value = typed(parameter, text);
  auto found = parameter.validator->check(value, pointer);
  if (found.empty()) return value;
  append(faults, std::move(found));
  return std::nullopt;
}

const Parameter* findParameter(const Operation& operation, ParameterPlace place, std::string_view name) {
  for (const auto& each : operation.parameters) {
    if (each.place == place && each.name == name) return &each;
  }
  return nullptr;
}

void readPath(ApiCall& call, std::vector<Fault>& faults) {
  for (const auto& [name, text] : call.path) {
    const Parameter* parameter = findParameter(*call.operation, ParameterPlace::kPath, name);
    if (parameter != nullptr) static_cast<void>(checked(*parameter, text, "/path/" + name, faults));
  }
}

void readQuery(ApiCall& call, std::vector<Fault>& faults) {
  Json query = Json::object();
  std::vector<std::string_view> seen;
  for (const auto& [name, text] : call.request.query) {
    if (faults.size() >= kMaxFaults) return;
    const std::string pointer = "/query/" + (isUtf8(name) ? pointerToken(name) : "?");
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      faults.push_back({pointer, "is there twice"});
      continue;
    }
    seen.push_back(name);
    const Parameter* parameter = findParameter(*call.operation, ParameterPlace::kQuery, name);
    if (parameter == nullptr) {
      faults.push_back({pointer, "is not a parameter of this operation"});
    } else if (auto value = checked(*parameter, text, pointer, faults)) {
      query[name] = std::move(*value);
    }
  }
  for (const auto& each : call.operation->parameters) {
    const bool missing = each.place == ParameterPlace::kQuery && each.required &&
                         std::find(seen.begin(), seen.end(), each.name) == seen.end();
    if (missing) faults.push_back({"/query/" + each.name, "is missing"});
  }
  call.setQuery(std::move(query));
}

Status readHeaders(ApiCall& call, std::vector<Fault>& faults) {
  for (const auto& each : call.operation->parameters) {
    if (each.place != ParameterPlace::kHeader || each.replacedWhenInvalid) continue;
    const auto text = call.request.headers.find(each.name);
    if (!text && each.required && each.missingStatus == 428) {
      return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("an update needs the header {}", each.name))
                      .withReason("if_match_missing")
                      .withFix("read the resource and send its ETag"));
    }
    if (!text) {
      if (each.required) faults.push_back({"/header/" + each.name, "is missing"});
      continue;
    }
    std::string value(*text);
    if (checked(each, value, "/header/" + each.name, faults)) call.headers.emplace(each.name, std::move(value));
  }
  return {};
}

// What the schemas cannot say of a body: how deep it is, and that no text has U+0000 in it.
void checkTexts(const Json& value, const std::string& at, int depth, std::vector<Fault>& faults) {
  if (faults.size() >= kMaxFaults) return;
  if (depth > kMaxDepth) {
    faults.push_back({at, fmt::format("is nested more than {} deep", kMaxDepth)});
    return;
  }
  if (value.is_string() && value.get_ref<const std::string&>().find('\0') != std::string::npos) {
    faults.push_back({at, "contains U+0000"});
  }
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) checkTexts(value[i], fmt::format("{}/{}", at, i), depth + 1, faults);
  }
  if (!value.is_object()) return;
  for (const auto& [name, member] : value.items()) {
    if (name.find('\0') != std::string::npos) {
      faults.push_back({at, "has a member whose name contains U+0000"});
    } else {
      checkTexts(member, at + "/" + pointerToken(name), depth + 1, faults);
    }
  }
}

Error tooLarge(std::uint64_t limit) {
  return makeError(ErrorCode::kResourceExhausted, fmt::format("the body is larger than {} bytes", limit))
      .withReason("body_too_large");
}

Error unsupported(std::string message) {
  return makeError(ErrorCode::kInvalidArgument, std::move(message)).withReason("unsupported_media_type");
}

Status checkMediaType(const ApiCall& call) {
  if (const auto encoding = call.request.headers.find("Content-Encoding");
      encoding && !equalsIgnoringCase(*encoding, "identity")) {
    return fail(unsupported("a Content-Encoding is not accepted"));
  }
  const auto header = call.request.headers.find("Content-Type");
  std::string_view type = header ? *header : std::string_view();
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (equalsIgnoringCase(type, call.operation->mediaType)) return {};
  return fail(unsupported(fmt::format("the body must have Content-Type {}", call.operation->mediaType))
                  .withFix(fmt::format("send Content-Type: {}", call.operation->mediaType)));
}

Result<Json> parseBody(const Operation& operation, std::string_view text) {
  auto parsed = parseJson(text);
  if (!parsed) {
    return fail(invalidRequest({{"", parsed.error().message}}));
  }
  std::vector<Fault> faults;
  checkTexts(*parsed, "", 1, faults);
  if (faults.empty()) faults = operation.bodyValidator->check(*parsed, "");
  if (!faults.empty()) return fail(invalidRequest(faults));
  return std::move(*parsed);
}

}  // namespace

Status readParameters(ApiCall& call) {
  std::vector<Fault> faults;
  readPath(call, faults);
  readQuery(call, faults);
  // A missing If-Match has a status of its own; a request that is wrong in other ways is told those first.
  if (faults.empty()) GS_CHECK(readHeaders(call, faults));
  if (!faults.empty()) return fail(invalidRequest(faults));
  return {};
}

Task<Status> readBody(ApiCall& call) {
  const Operation& operation = *call.operation;
  if (operation.body == BodyKind::kNone) co_return Status{};
  if (call.request.contentLength.value_or(0) > operation.maxBodyBytes) co_return fail(tooLarge(operation.maxBodyBytes));
  if (operation.body == BodyKind::kStream) co_return checkMediaType(call);
  auto text = co_await readAll(call.bodyReader, operation.maxBodyBytes);
  if (!text && text.error().code == ErrorCode::kResourceExhausted) co_return fail(tooLarge(operation.maxBodyBytes));
  if (!text) co_return fail(std::move(text).error());
  if (text->empty()) {
    if (operation.bodyRequired) co_return fail(invalidRequest({{"", "is missing"}}));
    co_return Status{};
  }
  GS_CO_CHECK(checkMediaType(call));
  GS_CO_TRY(auto body, parseBody(operation, *text));
  call.setBody(std::move(body));
  co_return Status{};
}

Task<Result<std::string>> BoundedBody::next() {
  GS_CO_TRY(auto piece, co_await inner_.next());
  if (piece.size() > left_) co_return fail(tooLarge(limit_));
  left_ -= piece.size();
  co_return piece;
}

}  // namespace gs

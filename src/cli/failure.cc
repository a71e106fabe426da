#include "cli/failure.h"

#include <nlohmann/json.hpp>

#include "cli/text_width.h"

namespace gs::cli {
namespace {

constexpr std::string_view kRequestContext = "request ";
constexpr std::size_t kMaxDetails = 64;

std::string textOr(const Json& object, std::string_view key, std::string otherwise) {
  auto found = findString(object, key);
  return found && *found ? **found : std::move(otherwise);
}

std::string describeFault(const Json& fault) {
  const std::string pointer = textOr(fault, "pointer", "");
  const std::string detail = textOr(fault, "detail", "");
  if (pointer.empty()) return detail;
  // "/hosts/hst_…" and "/sandboxes/sbx_…" name what stands in the way; other pointers name a member of the request.
  for (const std::string_view prefix : {"/hosts/", "/sandboxes/"}) {
    if (pointer.starts_with(prefix)) return fmt::format("{}: {}", pointer.substr(prefix.size()), detail);
  }
  return fmt::format("{}: {}", pointer.substr(1), detail);
}

bool isTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

}  // namespace

int exitCodeFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPermissionDenied:
      return kExitForbidden;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kAborted:
      return kExitConflict;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
      return kExitUnavailable;
    case ErrorCode::kCancelled:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kDataLoss:
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInternal:
      return kExitFailure;
  }
  return kExitFailure;
}

ErrorCode codeFromStatus(int status) {
  switch (status) {
    case 400:
    case 405:
    case 415:
      return ErrorCode::kInvalidArgument;
    case 401:
      return ErrorCode::kUnauthenticated;
    case 403:
      return ErrorCode::kPermissionDenied;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
    case 426:
    case 428:
      return ErrorCode::kFailedPrecondition;
    case 412:
      return ErrorCode::kAborted;
    case 408:
    case 504:
      return ErrorCode::kDeadlineExceeded;
    case 413:
    case 429:
    case 507:
      return ErrorCode::kResourceExhausted;
    case 422:
      return ErrorCode::kDataLoss;
    case 499:
      return ErrorCode::kCancelled;
    case 501:
      return ErrorCode::kUnimplemented;
    case 502:
    case 503:
      return ErrorCode::kUnavailable;
    default:
      return ErrorCode::kInternal;
  }
}

Error errorFromProblem(const Json& problem) {
  const auto status = findInteger(problem, "status");
  const std::string code = textOr(problem, "code", "");
  Error error;
  // A code that this version does not know is told by its status, as the contract allows codes to be added.
  error.code = errorCodeFromName(code);
  if (errorCodeName(error.code) != code) {
    error.code = codeFromStatus(status && *status ? static_cast<int>(**status) : 500);
  }
  error.message = textOr(problem, "detail", textOr(problem, "title", "the server gave no reason"));
  // Documents end their sentences; errors here are printed without.
  if (error.message.ends_with('.')) error.message.pop_back();
  error.fix = textOr(problem, "fix", "");
  error.reason = textOr(problem, "reason", "");
  if (const auto errors = problem.find("errors"); errors != problem.end() && errors->is_array()) {
    for (const auto& fault : *errors) {
      if (!fault.is_object() || error.details.size() >= kMaxDetails) continue;
      error.details.push_back(describeFault(fault));
    }
  }
  if (const std::string id = textOr(problem, "requestId", ""); !id.empty()) {
    error.trace.push_back(std::string(kRequestContext) + id);
  }
  if (error.fix.empty() && error.code == ErrorCode::kUnauthenticated) error.fix = "log in again: gstacks auth login";
  return error;
}

Error errorFromAnswer(int status, std::string_view contentType, std::string_view body) {
  if (contentType.starts_with("application/problem+json") || contentType.starts_with("application/json")) {
    const auto problem = parseJson(body);
    if (problem && problem->is_object() && problem->contains("code")) return errorFromProblem(*problem);
  }
  return makeError(codeFromStatus(status), fmt::format("the server answered {} without saying why", status))
      .withFix("check that the base URL is that of gstacks-server and that no proxy answers in its place");
}

std::string requestIdOf(const Error& error) {
  for (const auto& where : error.trace) {
    if (where.starts_with(kRequestContext)) return where.substr(kRequestContext.size());
  }
  return {};
}

std::string errorText(const Error& error) {
  std::string text = fmt::format("error: {}", printable(error.message));
  const std::string requestId = requestIdOf(error);
  for (const auto& where : error.trace) {
    if (!where.starts_with(kRequestContext)) text += fmt::format(" (while {})", printable(where));
  }
  text += '\n';
  for (const auto& detail : error.details) text += fmt::format("  - {}\n", printable(detail));
  if (!error.fix.empty()) text += fmt::format("fix: {}\n", printable(error.fix));
  if (!requestId.empty()) text += fmt::format("request: {}\n", printable(requestId));
  return redactSecrets(text);
}

std::string errorJson(const Error& error, int exitCode) {
  Json json{{"code", errorCodeName(error.code)}, {"message", error.message}, {"exitCode", exitCode}};
  if (!error.fix.empty()) json["fix"] = error.fix;
  if (!error.reason.empty()) json["reason"] = error.reason;
  if (!error.details.empty()) json["details"] = error.details;
  if (const std::string id = requestIdOf(error); !id.empty()) json["requestId"] = id;
  return redactSecrets(Json{{"error", std::move(json)}}.dump(-1, ' ', false, Json::error_handler_t::replace)) + "\n";
}

std::string redactSecrets(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const bool secret = text.size() > 4 && text.starts_with("gs") && text[3] == '_' &&
                        (text[2] == 'k' || text[2] == 'p' || text[2] == 'd') && isTokenChar(text[4]);
    if (!secret) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    out += text.substr(0, 4);
    out += "…";
    text.remove_prefix(4);
    while (!text.empty() && isTokenChar(text.front())) text.remove_prefix(1);
  }
  return out;
}

}  // namespace gs::cli

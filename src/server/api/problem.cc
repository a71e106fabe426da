#include "server/api/problem.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "server/api/text.h"
#include "wire/problem.h"

namespace gs {
namespace {

constexpr std::size_t kMaxDetail = 4096;
constexpr std::size_t kMaxFix = 1024;
constexpr std::size_t kMaxPointer = 512;
constexpr std::size_t kMaxFaultDetail = 1024;

struct ReasonRow {
  ErrorCode code;
  std::string_view reason;
  int status;
};
// Where the code alone does not settle it.
constexpr ReasonRow kByReason[] = {
    {ErrorCode::kInvalidArgument, "method_not_allowed", 405},
    {ErrorCode::kInvalidArgument, "unsupported_media_type", 415},
    {ErrorCode::kFailedPrecondition, "range_not_satisfiable", 416},
    {ErrorCode::kFailedPrecondition, "upgrade_required", 426},
    {ErrorCode::kFailedPrecondition, "if_match_missing", 428},
    {ErrorCode::kDeadlineExceeded, "request_timeout", 408},
    {ErrorCode::kResourceExhausted, "body_too_large", 413},
    {ErrorCode::kResourceExhausted, "limit_exceeded", 413},
    {ErrorCode::kResourceExhausted, "decompression_bomb", 413},
    {ErrorCode::kResourceExhausted, "too_many", 429},
    {ErrorCode::kResourceExhausted, "disk_full", 507},
    {ErrorCode::kResourceExhausted, "no_space_in_sandbox", 507},
    {ErrorCode::kResourceExhausted, "", 507},  // SQLite and the file system: no room
};

bool isInternal(const Error& error) {
  // Damage of what the server keeps itself is its own fault; that of what a client sent has a reason.
  return error.code == ErrorCode::kInternal || (error.code == ErrorCode::kDataLoss && error.reason.empty());
}

Json faultsOf(const Error& error) {
  Json out = Json::array();
  for (const auto& line : error.details) {
    if (out.size() == kMaxFaults) break;
    const Fault fault = parseFaultLine(line);
    if (fault.detail.empty()) continue;
    out.push_back({{"pointer", cutText(fault.pointer, kMaxPointer)}, {"detail", cutText(fault.detail, kMaxFaultDetail)}});
  }
  return out;
}

}  // namespace

int problemStatus(const Error& error) {
  if (isInternal(error)) return httpStatus(ErrorCode::kInternal);
  for (const auto& row : kByReason) {
    if (row.code == error.code && row.reason == error.reason) return row.status;
  }
  return httpStatus(error.code);
}

Problem makeProblem(const Error& error, std::string_view requestId, std::string_view instance) {
  const bool internal = isInternal(error);
  const ErrorCode code = internal ? ErrorCode::kInternal : error.code;
  const int status = problemStatus(error);
  Json out{{"type", fmt::format("https://gstacks.dev/problems/{}", errorCodeName(code))},
           {"title", problemTitle(code)},
           {"status", status},
           {"detail", "the server failed; its log says why under this request id"},
           {"instance", instance},
           {"code", errorCodeName(code)},
           {"requestId", requestId}};
  if (internal) return {status, canonicalJson(out)};
  out["detail"] = error.message.empty() ? std::string(problemTitle(code)) : cutText(error.message, kMaxDetail);
  if (!error.reason.empty()) out["reason"] = error.reason;
  if (!error.fix.empty()) out["fix"] = cutText(error.fix, kMaxFix);
  if (auto faults = faultsOf(error); !faults.empty()) out["errors"] = std::move(faults);
  return {status, canonicalJson(out)};
}

HttpResponse problemResponse(const Error& error, std::string_view requestId, std::string_view instance) {
  Problem problem = makeProblem(error, requestId, instance);
  HttpResponse response;
  response.status = problem.status;
  response.headers.set("Content-Type", "application/problem+json");
  if (problem.status == 401) response.headers.set("WWW-Authenticate", "Bearer");
  if (problem.status == 426) response.headers.set("Upgrade", "websocket");
  if (problem.status == 429 || problem.status == 503) response.headers.set("Retry-After", "1");
  response.body = std::move(problem.json);
  return response;
}

Error invalidRequest(const std::vector<Fault>& faults) {
  Error error = makeError(ErrorCode::kInvalidArgument,
                          faults.size() == 1 ? std::string("the request does not fit the contract")
                                             : fmt::format("{} places of the request do not fit the contract", faults.size()));
  if (faults.size() == 1) {
    const Fault& only = faults.front();
    error.message = fmt::format("{} {}", only.pointer.empty() ? std::string_view("the body") : only.pointer, only.detail);
  }
  for (const auto& fault : faults) error.details.push_back(faultLine(fault.pointer, fault.detail));
  return error;
}

}  // namespace gs

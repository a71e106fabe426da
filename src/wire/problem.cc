#include "wire/problem.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {
namespace {

struct CodeRow {
  ErrorCode code;
  int status;
  std::string_view title;
};

constexpr CodeRow kRows[] = {
    {ErrorCode::kCancelled, 499, "Cancelled"},  // the client closed the request; seen in logs only
    {ErrorCode::kInvalidArgument, 400, "Invalid argument"},
    {ErrorCode::kDeadlineExceeded, 504, "Deadline exceeded"},
    {ErrorCode::kNotFound, 404, "Not found"},
    {ErrorCode::kAlreadyExists, 409, "Already exists"},
    {ErrorCode::kPermissionDenied, 403, "Permission denied"},
    {ErrorCode::kUnauthenticated, 401, "Unauthenticated"},
    {ErrorCode::kResourceExhausted, 429, "Resource exhausted"},
    {ErrorCode::kFailedPrecondition, 409, "Failed precondition"},
    {ErrorCode::kAborted, 412, "Aborted"},
    {ErrorCode::kUnavailable, 503, "Unavailable"},
    {ErrorCode::kDataLoss, 422, "Data loss"},
    {ErrorCode::kUnimplemented, 501, "Unimplemented"},
    {ErrorCode::kInternal, 500, "Internal error"},
};

const CodeRow& rowOf(ErrorCode code) {
  for (const auto& row : kRows) {
    if (row.code == code) return row;
  }
  return kRows[std::size(kRows) - 1];
}

}  // namespace

int httpStatus(ErrorCode code) { return rowOf(code).status; }
std::string_view problemTitle(ErrorCode code) { return rowOf(code).title; }

std::string problemJson(const Error& error, std::string_view requestId, std::string_view instance) {
  const CodeRow& row = rowOf(error.code);
  Json out{{"type", fmt::format("https://gstacks.dev/problems/{}", errorCodeName(error.code))},
           {"title", row.title},
           {"status", row.status},
           {"detail", error.message},
           {"code", errorCodeName(error.code)}};
  if (!error.reason.empty()) out["reason"] = error.reason;
  if (!error.fix.empty()) out["fix"] = error.fix;
  if (!requestId.empty()) out["requestId"] = requestId;
  if (!instance.empty()) out["instance"] = instance;
  return canonicalJson(out);
}

}  // namespace gs

#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace gs {
namespace {

struct CodeName {
  ErrorCode code;
  std::string_view name;
};

constexpr std::array kNames{
    CodeName{ErrorCode::kCancelled, "cancelled"},
    CodeName{ErrorCode::kInvalidArgument, "invalid_argument"},
    CodeName{ErrorCode::kDeadlineExceeded, "deadline_exceeded"},
    CodeName{ErrorCode::kNotFound, "not_found"},
    CodeName{ErrorCode::kAlreadyExists, "already_exists"},
    CodeName{ErrorCode::kPermissionDenied, "permission_denied"},
    CodeName{ErrorCode::kUnauthenticated, "unauthenticated"},
    CodeName{ErrorCode::kResourceExhausted, "resource_exhausted"},
    CodeName{ErrorCode::kFailedPrecondition, "failed_precondition"},
    CodeName{ErrorCode::kAborted, "aborted"},
    CodeName{ErrorCode::kUnavailable, "unavailable"},
    CodeName{ErrorCode::kDataLoss, "data_loss"},
    CodeName{ErrorCode::kUnimplemented, "unimplemented"},
    CodeName{ErrorCode::kInternal, "internal"},
};

ErrorCode codeFromErrno(int err) {
  switch (err) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ErrorCode::kResourceExhausted;
    case ENOENT:
    case ESRCH: return ErrorCode::kNotFound;
    case EEXIST: return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM: return ErrorCode::kPermissionDenied;
    case ETIMEDOUT: return ErrorCode::kDeadlineExceeded;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EAGAIN: return ErrorCode::kUnavailable;
    case EINVAL:
    case ENAMETOOLONG: return ErrorCode::kInvalidArgument;
    case EIO: return ErrorCode::kDataLoss;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

std::string_view errorCodeName(ErrorCode code) {
  for (const auto& entry : kNames) {
    if (entry.code == code) return entry.name;
  }
  return "internal";
}

ErrorCode errorCodeFromName(std::string_view name) {
  for (const auto& entry : kNames) {
    if (entry.name == name) return entry.code;
  }
  return ErrorCode::kInternal;
}

std::string Error::describe() const {
  std::string out = fmt::format("{}: {}", errorCodeName(code), message);
  for (const auto& where : trace) out += fmt::format(" (while {})", where);
  if (!fix.empty()) out += fmt::format("; {}", fix);
  return out;
}

Error&& Error::context(std::string where) && {
  trace.push_back(std::move(where));
  return std::move(*this);
}

Error&& Error::withFix(std::string text) && {
  fix = std::move(text);
  return std::move(*this);
}

Error&& Error::withReason(std::string text) && {
  reason = std::move(text);
  return std::move(*this);
}

Error makeError(ErrorCode code, std::string message) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  if (code == ErrorCode::kUnavailable || code == ErrorCode::kDeadlineExceeded) error.retryable = Retry::kYes;
  return error;
}

Error errnoError(int err, std::string_view what) {
  return makeError(codeFromErrno(err), fmt::format("{}: {}", what, std::strerror(err)));
}

}  // namespace gs

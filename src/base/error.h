// What went wrong, in a form that every layer can pass up and each edge can print once.
//
// An Error is a value: a code for programs, a message for people, an optional `fix` that says what to do about it, and
// a trace of the contexts it passed on the way up. Mapped to HTTP problems in server/api/problem.cc and to protobuf
// Status in wire/status.cc; nowhere else. Messages never contain secrets or bytes from a sandbox without escaping.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gs {

// The fourteen codes. Names follow the gRPC canonical codes where the meaning is the same.
enum class ErrorCode : std::uint8_t {
  kCancelled,           // the caller went away or asked to stop
  kInvalidArgument,     // the request can never succeed as it is
  kDeadlineExceeded,    // the time allowed ran out; the effect may or may not have happened
  kNotFound,            // unknown id, or one that the caller may not know about
  kAlreadyExists,       // a unique name or id is taken
  kPermissionDenied,    // known caller, not allowed
  kUnauthenticated,     // no caller could be established
  kResourceExhausted,   // disk, memory, quota, queue or use count
  kFailedPrecondition,  // right request, wrong state; the state must change first
  kAborted,             // lost a race (version, generation, epoch); read again and retry
  kUnavailable,         // the other side does not answer now
  kDataLoss,            // bytes are not what their digest or checksum says
  kUnimplemented,       // this version or platform cannot do it
  kInternal,            // a bug, or a library that broke its word
};

[[nodiscard]] std::string_view errorCodeName(ErrorCode code);  // "not_found"
[[nodiscard]] ErrorCode errorCodeFromName(std::string_view name);  // unknown names are kInternal

enum class Retry : std::uint8_t { kNo, kYes };

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;             // one sentence, no trailing period
  std::string fix;                 // optional: what the reader can do
  std::string reason;              // optional: machine-readable snake_case detail, e.g. "token_expired"
  std::vector<std::string> trace;  // outermost last
  Retry retryable = Retry::kNo;
  std::vector<std::string> details;  // optional: one line per item (host that does not fit, bad field)

  // "not_found: no such host: hst_… (while placing)". For logs and terminals.
  [[nodiscard]] std::string describe() const;
  // Adds where it was noticed. Returns itself so that `return std::unexpected(std::move(e).context("…"))` reads well.
  Error&& context(std::string where) &&;
  Error&& withFix(std::string text) &&;
  Error&& withReason(std::string text) &&;
};

[[nodiscard]] Error makeError(ErrorCode code, std::string message);
// From errno, with the call that failed: ENOSPC and EDQUOT become kResourceExhausted, ENOENT kNotFound, and so on.
[[nodiscard]] Error errnoError(int err, std::string_view what);

}  // namespace gs

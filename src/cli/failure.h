// How errors reach the user: from the API's problem documents into Error, from Error to words, JSON and an exit code.
//
// Exit codes are a contract; `gstacks --help` lists them. Nothing that looks like one of our secrets is ever printed.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace gs::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitForbidden = 3;
inline constexpr int kExitNotFound = 4;
inline constexpr int kExitConflict = 5;
inline constexpr int kExitUnavailable = 6;
inline constexpr int kExitExecFailed = 125;  // `sandbox exec` itself could not be done
inline constexpr int kExitSignalBase = 128;  // plus the number of the signal that ended the program

[[nodiscard]] int exitCodeFor(ErrorCode code);

// An answer of 400 or above. `body` is a problem document or anything else (a proxy's page): then the status decides.
[[nodiscard]] Error errorFromAnswer(int status, std::string_view contentType, std::string_view body);
// A problem document (RFC 9457) that was parsed already, as in a session's error frame.
[[nodiscard]] Error errorFromProblem(const Json& problem);
[[nodiscard]] ErrorCode codeFromStatus(int status);

// The request that failed, to find it in the server's log; empty when the server was not reached.
[[nodiscard]] std::string requestIdOf(const Error& error);

// "error: …\n  - detail\nfix: …\nrequest: req_…\n"
[[nodiscard]] std::string errorText(const Error& error);
// {"error":{"code":…,"message":…,"exitCode":…,"fix"?,"reason"?,"requestId"?,"details"?:[…]}}
[[nodiscard]] std::string errorJson(const Error& error, int exitCode);

// Replaces what follows gsk_, gsp_ and gsd_ by an ellipsis.
[[nodiscard]] std::string redactSecrets(std::string_view text);

}  // namespace gs::cli

// An Error as an RFC 9457 problem: the one place that maps codes to HTTP statuses and session close codes.
//
// Used by the HTTP API and by the error frames of sessions. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace gs {

[[nodiscard]] int httpStatus(ErrorCode code);
[[nodiscard]] std::string_view problemTitle(ErrorCode code);  // "Not found"
// {"type","title","status","detail","code"[,"reason"][,"fix"][,"requestId"][,"instance"]}; the members of Problem in the
// HTTP contract. Empty arguments are left out.
[[nodiscard]] std::string problemJson(const Error& error, std::string_view requestId = {}, std::string_view instance = {});
// 4000 + status, e.g. 4404.
[[nodiscard]] inline std::uint16_t sessionCloseCode(const Error& error) {
  return static_cast<std::uint16_t>(4000 + httpStatus(error.code));
}

}  // namespace gs

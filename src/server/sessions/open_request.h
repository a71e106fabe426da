// The open frame of a session (SessionOpen in the HTTP contract), read strictly.
//
// Pure; any thread. Limits are those of the contract: unknown members, null, NUL and anything out of bounds are refused.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "wire/messages.h"

namespace gs {

struct OpenRequest {
  std::string sandbox;  // id or name
  ExecSession exec;
  Millis wait{0};
};

// kInvalidArgument; `details` has a fault line for each violation (at most 64), and the message tells the first.
[[nodiscard]] Result<OpenRequest> parseOpenRequest(std::string_view json);

}  // namespace gs

// The open frame of a session (SessionOpen in the HTTP contract), read strictly.
//
// Pure; any thread. Limits are those of the contract: unknown members, null, NUL and anything out of bounds are refused.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "wire/messages.h"

namespace gs {

struct AttachWish {
  SessionId session;
  AttachSession::Mode mode = AttachSession::Mode::kWrite;
  std::string client;
  std::optional<std::uint64_t> outputOffset;
};

struct OpenRequest {
  std::string sandbox;  // id or name
  ExecSession exec;     // `policy` without the owner, which no client chooses
  Millis wait{0};
  std::optional<AttachWish> attach;  // then `exec` means nothing
};

inline constexpr Millis kUsualGrace{60'000};

// kInvalidArgument; `details` has a fault line for each violation (at most 64), and the message tells the first.
[[nodiscard]] Result<OpenRequest> parseOpenRequest(std::string_view json);

}  // namespace gs

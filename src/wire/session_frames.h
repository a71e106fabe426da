// The frames of gstacks.session.v1: one type byte, then the payload. Used by client, server and agent alike.
//
// The contract is the openSession operation of openapi/openapi.yaml. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "wire/terminal_size.h"

namespace gs {

inline constexpr std::string_view kSessionSubprotocol = "gstacks.session.v1";
inline constexpr std::string_view kChannelSubprotocol = "gstacks.channel.v1";
inline constexpr std::string_view kLinkSubprotocol = "gstacks.agent.v1";
inline constexpr std::size_t kMaxSessionPayload = 64 * 1024;

// Of a data channel, at both ends: each is heard by the other three times before it is taken for dead, whoever has
// something to say and whoever has not.
inline constexpr Millis kChannelPingAfter{20'000};
inline constexpr Millis kChannelDropAfter{60'000};

enum class SessionFrameType : std::uint8_t {
  kOpen = 0x00,
  kStdin = 0x01,
  kStdinEof = 0x02,
  kSignal = 0x03,
  kResize = 0x04,
  kAck = 0x05,
  kLeave = 0x06,
  kOpened = 0x10,
  kStdout = 0x11,
  kStderr = 0x12,
  kExit = 0x13,
  kError = 0x14,
  kResized = 0x15,
  kInputAck = 0x16,
};

struct SessionFrame {
  SessionFrameType type;
  std::string_view payload;  // points into the message it was parsed from
};

enum class SessionSide : std::uint8_t { kFromClient, kToClient };

// kInvalidArgument: empty, over the limit, or a type that does not belong to that side.
[[nodiscard]] Result<SessionFrame> parseSessionFrame(std::string_view message, SessionSide side);
// The payload of kResize and kResized: a JSON object of rows and columns and nothing else. kInvalidArgument (reason
// not_json when it is none at all).
[[nodiscard]] Result<TerminalSize> parseTerminalSize(std::string_view payload);
[[nodiscard]] std::string terminalSizeJson(TerminalSize size);

// The payload of kAck and kInputAck: a JSON object of an offset, 0 to 2^53 - 1, and nothing else. Errors as above.
[[nodiscard]] Result<std::uint64_t> parseSessionOffset(std::string_view payload);
[[nodiscard]] std::string sessionOffsetJson(std::uint64_t offset);

// The payload of kLeave: a JSON object of how, "hang_up" or "detach", and nothing else. Errors as above.
enum class SessionDeparture : std::uint8_t { kHangUp, kDetach };
[[nodiscard]] Result<SessionDeparture> parseSessionDeparture(std::string_view payload);
[[nodiscard]] std::string sessionDepartureJson(SessionDeparture how);

[[nodiscard]] std::string makeSessionFrame(SessionFrameType type, std::string_view payload);

}  // namespace gs

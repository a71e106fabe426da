#include "wire/session_frames.h"

namespace gs {

Result<SessionFrame> parseSessionFrame(std::string_view message, SessionSide side) {
  if (message.empty()) return fail(ErrorCode::kInvalidArgument, "a session frame needs a type byte");
  if (message.size() > kMaxSessionPayload + 1) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a session frame holds at most {} bytes", kMaxSessionPayload));
  }
  const auto type = static_cast<std::uint8_t>(message.front());
  const bool known = side == SessionSide::kFromClient ? type <= 0x04 : type >= 0x10 && type <= 0x14;
  if (!known) return fail(ErrorCode::kInvalidArgument, fmt::format("unknown session frame type 0x{:02x}", type));
  return SessionFrame{static_cast<SessionFrameType>(type), message.substr(1)};
}

std::string makeSessionFrame(SessionFrameType type, std::string_view payload) {
  std::string out;
  out.reserve(payload.size() + 1);
  out.push_back(static_cast<char>(type));
  out += payload;
  return out;
}

}  // namespace gs

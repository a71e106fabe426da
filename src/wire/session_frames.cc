#include "wire/session_frames.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {

Result<SessionFrame> parseSessionFrame(std::string_view message, SessionSide side) {
  if (message.empty()) return fail(ErrorCode::kInvalidArgument, "a session frame needs a type byte");
  if (message.size() > kMaxSessionPayload + 1) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a session frame holds at most {} bytes", kMaxSessionPayload));
  }
  const auto type = static_cast<std::uint8_t>(message.front());
  const bool known = side == SessionSide::kFromClient ? type <= 0x04 : type >= 0x10 && type <= 0x15;
  if (!known) return fail(ErrorCode::kInvalidArgument, fmt::format("unknown session frame type 0x{:02x}", type));
  return SessionFrame{static_cast<SessionFrameType>(type), message.substr(1)};
}

Result<TerminalSize> parseTerminalSize(std::string_view payload) {
  const auto json = parseJson(payload);
  if (!json) return fail(makeError(ErrorCode::kInvalidArgument, "the terminal's size is no JSON").withReason("not_json"));
  const auto wrong = [] {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a terminal has 1 to {} rows and columns", kLongestTerminalSide));
  };
  if (!json->is_object() || json->size() != 2) return wrong();
  const auto rows = findInteger(*json, "rows");
  const auto columns = findInteger(*json, "columns");
  const auto isSide = [](const auto& side) { return side && *side && **side >= 1 && **side <= kLongestTerminalSide; };
  if (!isSide(rows) || !isSide(columns)) return wrong();
  return TerminalSize{static_cast<std::uint32_t>(**rows), static_cast<std::uint32_t>(**columns)};
}

std::string terminalSizeJson(TerminalSize size) {
  return fmt::format(R"({{"columns":{},"rows":{}}})", size.columns, size.rows);
}

std::string makeSessionFrame(SessionFrameType type, std::string_view payload) {
  std::string out;
  out.reserve(payload.size() + 1);
  out.push_back(static_cast<char>(type));
  out += payload;
  return out;
}

}  // namespace gs

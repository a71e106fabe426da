#include "wire/session_frames.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {
namespace {

constexpr std::int64_t kMostSessionOffset = (std::int64_t{1} << 53) - 1;

}  // namespace

Result<SessionFrame> parseSessionFrame(std::string_view message, SessionSide side) {
  if (message.empty()) return fail(ErrorCode::kInvalidArgument, "a session frame needs a type byte");
  if (message.size() > kMaxSessionPayload + 1) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a session frame holds at most {} bytes", kMaxSessionPayload));
  }
  const auto type = static_cast<std::uint8_t>(message.front());
  const bool known = side == SessionSide::kFromClient ? type <= 0x06 : type >= 0x10 && type <= 0x16;
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

Result<std::uint64_t> parseSessionOffset(std::string_view payload) {
  const auto json = parseJson(payload);
  if (!json) return fail(makeError(ErrorCode::kInvalidArgument, "the offset is no JSON").withReason("not_json"));
  const auto wrong = [] { return fail(ErrorCode::kInvalidArgument, "an offset is a number of bytes from 0 on"); };
  if (!json->is_object() || json->size() != 1) return wrong();
  const auto offset = findInteger(*json, "offset");
  if (!offset || !*offset || **offset < 0 || **offset > kMostSessionOffset) return wrong();
  return static_cast<std::uint64_t>(**offset);
}

std::string sessionOffsetJson(std::uint64_t offset) { return fmt::format(R"({{"offset":{}}})", offset); }

Result<SessionDeparture> parseSessionDeparture(std::string_view payload) {
  const auto json = parseJson(payload);
  if (!json) return fail(makeError(ErrorCode::kInvalidArgument, "the departure is no JSON").withReason("not_json"));
  if (json->is_object() && json->size() == 1 && json->contains("how")) {
    if (json->at("how") == "hang_up") return SessionDeparture::kHangUp;
    if (json->at("how") == "detach") return SessionDeparture::kDetach;
  }
  return fail(ErrorCode::kInvalidArgument, "one leaves by hang_up or detach");
}

std::string sessionDepartureJson(SessionDeparture how) {
  return fmt::format(R"({{"how":"{}"}})", how == SessionDeparture::kDetach ? "detach" : "hang_up");
}

std::string makeSessionFrame(SessionFrameType type, std::string_view payload) {
  std::string out;
  out.reserve(payload.size() + 1);
  out.push_back(static_cast<char>(type));
  out += payload;
  return out;
}

}  // namespace gs

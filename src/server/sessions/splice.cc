#include "server/sessions/splice.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "wire/problem.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr std::uint16_t kNormal = 1000;
constexpr std::uint16_t kGone = 1001;
constexpr std::uint16_t kViolation = 1002;
constexpr std::uint16_t kNotText = 1007;
constexpr std::uint16_t kTooBig = 1009;
constexpr std::size_t kMaxSummary = 80;

// SessionSignal of the HTTP contract.
constexpr std::string_view kSignals[] = {"HUP",  "INT",  "QUIT", "ABRT", "KILL", "USR1", "USR2", "ALRM",
                                         "TERM", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "WINCH"};

bool namesSignal(const Json& payload) {
  const auto name = findString(payload, "signal");
  return payload.is_object() && payload.size() == 1 && name && *name && std::ranges::find(kSignals, **name) != std::end(kSignals);
}

SpliceEnd violation(std::uint16_t code, std::string reason) { return {code, reason, std::nullopt, "ended by the client: " + reason}; }

template <class Payload>
std::optional<SpliceEnd> judge(const Result<Payload>& payload, const SpliceRules& rules) {
  if (rules.reattach == SpliceRules::Reattach::kNo) return violation(kViolation, "a frame of sessions that can be attached to");
  if (payload) return std::nullopt;
  return violation(payload.error().reason == "not_json" ? kNotText : kViolation, payload.error().message);
}

// What is wrong with a frame of the client, if anything.
std::optional<SpliceEnd> judge(std::string_view message, const SpliceRules& rules) {
  if (message.size() > kMaxSessionPayload + 1) return violation(kTooBig, "a frame is too large");
  const auto frame = parseSessionFrame(message, SessionSide::kFromClient);
  if (!frame) return violation(kViolation, "an unknown frame");
  switch (frame->type) {
    case SessionFrameType::kOpen: return violation(kViolation, "a second open");
    case SessionFrameType::kResize: {
      if (rules.streams == SessionStreams::kPipes) return violation(kViolation, "resize of a session without a terminal");
      const auto size = parseTerminalSize(frame->payload);
      if (size) return std::nullopt;
      return violation(size.error().reason == "not_json" ? kNotText : kViolation, size.error().message);
    }
    case SessionFrameType::kStdinEof:
      if (!frame->payload.empty()) return violation(kViolation, "a payload where none belongs");
      return std::nullopt;
    case SessionFrameType::kSignal: {
      const auto payload = parseJson(frame->payload);
      if (!payload) return violation(kNotText, "a signal that is no JSON");
      if (!namesSignal(*payload)) return violation(kViolation, "an unknown signal");
      return std::nullopt;
    }
    case SessionFrameType::kAck: return judge(parseSessionOffset(frame->payload), rules);
    case SessionFrameType::kLeave: return judge(parseSessionDeparture(frame->payload), rules);
    default: return std::nullopt;
  }
}

// Shared by both directions.
struct Course {
  SpliceRules rules;
  bool left = false;  // the client has said that it goes
};

Task<SpliceEnd> toHost(std::shared_ptr<WebSocket> client, std::shared_ptr<WebSocket> channel, std::shared_ptr<Course> course) {
  for (;;) {
    const auto message = co_await client->read();
    if (!message) {
      if (message.error().code == ErrorCode::kResourceExhausted) co_return violation(kTooBig, "a frame is too large");
      co_return SpliceEnd{kGone, "", std::nullopt, "the client went away"};
    }
    if (auto wrong = judge(*message, course->rules)) co_return std::move(*wrong);
    // Before it is passed on: the answer may be quick.
    if (static_cast<SessionFrameType>(message->front()) == SessionFrameType::kLeave) course->left = true;
    // A channel that cannot be written to has ended; the other direction hears how.
    if (!co_await channel->write(*message)) break;
  }
  co_await sleepUntil(Deadline::never());
  co_return SpliceEnd{};
}

SpliceEnd afterError(std::string_view payload) {
  SpliceEnd end;
  std::int64_t status = 500;
  if (const auto problem = parseJson(payload)) {
    const auto stated = findInteger(*problem, "status");
    if (stated && *stated && **stated >= 400 && **stated <= 599) status = **stated;
  }
  end.closeCode = static_cast<std::uint16_t>(4000 + status);
  end.summary = "error " + escapeForLog(payload, kMaxSummary);
  return end;
}

SpliceEnd lost(Error error) {
  const auto code = sessionCloseCode(error);
  std::string summary = error.message;
  return {code, error.message, std::move(error), std::move(summary)};
}

Task<SpliceEnd> toClient(std::shared_ptr<WebSocket> client, std::shared_ptr<WebSocket> channel, std::shared_ptr<Course> course) {
  for (;;) {
    const auto message = co_await channel->read();
    if (!message && course->left) co_return SpliceEnd{kNormal, "", std::nullopt, "the client left"};
    if (!message) {
      if (message.error().code == ErrorCode::kResourceExhausted) co_return lost(makeError(ErrorCode::kInternal, "the host sent a frame that is too large"));
      co_return lost(makeError(ErrorCode::kUnavailable, "the connection to the host was lost; the program may still run"));
    }
    const auto frame = parseSessionFrame(*message, SessionSide::kToClient);
    if (!frame) co_return lost(makeError(ErrorCode::kInternal, "the host sent a frame that is not of this protocol"));
    const bool delivered = (co_await client->write(*message)).has_value();
    if (frame->type == SessionFrameType::kExit) {
      co_return SpliceEnd{kNormal, "", std::nullopt, "exit " + escapeForLog(frame->payload, kMaxSummary)};
    }
    if (frame->type == SessionFrameType::kOpened && course->rules.until == SpliceRules::Until::kOpened) {
      co_return SpliceEnd{kNormal, "", std::nullopt, "detached"};
    }
    if (frame->type == SessionFrameType::kError) co_return afterError(frame->payload);
    if (!delivered) co_return SpliceEnd{kGone, "", std::nullopt, "the client went away"};
  }
}

}  // namespace

Task<SpliceEnd> splice(std::shared_ptr<WebSocket> client, std::shared_ptr<WebSocket> channel, SpliceRules rules) {
  using namespace asio::experimental::awaitable_operators;
  const auto course = std::make_shared<Course>(Course{rules});
  auto ended = co_await (toHost(client, channel, course) || toClient(client, channel, course));
  co_return std::visit([](auto& end) { return std::move(end); }, ended);
}

}  // namespace gs

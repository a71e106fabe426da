#include "agent/sessions/session_queries.h"

namespace gs {
namespace {

constexpr Millis kAnswerTime{10'000};

Task<void> answer(WebSocket& channel, SessionsReply reply) {
  if (co_await channel.write(encode(reply))) co_await channel.close(1000, "");
}

Task<void> refuse(WebSocket& channel, Error error) {
  SessionsReply reply;
  reply.error = std::move(error);
  co_await answer(channel, std::move(reply));
}

// Nothing: the guest made it up.
std::optional<SessionInfo> infoOf(SessionSummary&& summary) {
  auto id = SessionId::parse(summary.id);
  if (!id) return std::nullopt;
  SessionInfo out;
  out.sessionId = std::move(*id);
  out.owner = std::move(summary.owner);
  out.program = std::move(summary.program);
  out.terminal = summary.terminal;
  out.lifetime = static_cast<SessionPolicy::Lifetime>(summary.lifetime);
  out.state = static_cast<SessionInfo::State>(summary.state);
  out.viewers = summary.viewers;
  out.outputBytes = summary.outputBytes;
  out.exitCode = summary.exit.code;
  out.exitSignal = summary.exit.signal;
  out.age = summary.age;
  return out;
}

}  // namespace

Task<void> answerListSessions(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host) {
  auto summaries = co_await host.listSessions(open.sandboxId, Deadline::after(kAnswerTime));
  if (!summaries) co_return co_await refuse(*channel, std::move(summaries).error());
  SessionsReply reply;
  for (auto& summary : *summaries) {
    auto info = infoOf(std::move(summary));
    if (!info) continue;
    if (reply.sessions.size() == kMostSessionsInReply) {
      reply.rest = SessionsReply::Rest::kFollows;
      if (!co_await channel->write(encode(reply))) co_return;
      reply = {};
    }
    reply.sessions.push_back(std::move(*info));
  }
  co_await answer(*channel, std::move(reply));
}

Task<void> answerEndSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host) {
  const auto& end = std::get<EndSession>(open.kind);
  const SessionClaim claim{end.owner, end.reach == AttachSession::Reach::kAll ? SessionClaim::Reach::kAll : SessionClaim::Reach::kOwn};
  auto ended = co_await host.endSession(open.sandboxId, open.sessionId.text(), claim, Deadline::after(kAnswerTime));
  if (!ended) co_return co_await refuse(*channel, std::move(ended).error());
  co_await answer(*channel, {});
}

}  // namespace gs

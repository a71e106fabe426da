#include "server/sessions/session_directory.h"

#include <algorithm>

#include "async/with_deadline.h"
#include "server/core/sandbox_view.h"

namespace gs {
namespace {

constexpr Millis kAnswerTime{15'000};
constexpr std::size_t kMostReplies = 8;

// A reply may have been read from the channel of a host that speaks nonsense: that is a fault of the host's.
Task<Result<std::vector<SessionInfo>>> readReplies(std::shared_ptr<WebSocket> channel) {
  std::vector<SessionInfo> out;
  for (std::size_t count = 0; count < kMostReplies; ++count) {
    const auto message = co_await channel->read();
    if (!message) co_return fail(ErrorCode::kUnavailable, "the connection to the host was lost");
    auto reply = decodeSessionsReply(*message);
    if (!reply) co_return fail(ErrorCode::kInternal, "the host gave an answer that is not of this protocol");
    if (reply->error) co_return fail(std::move(*reply->error));
    std::move(reply->sessions.begin(), reply->sessions.end(), std::back_inserter(out));
    if (reply->rest == SessionsReply::Rest::kNone) co_return out;
  }
  co_return fail(ErrorCode::kInternal, "the host's answer does not end");
}

}  // namespace

AttachSession::Reach reachOf(const Actor& actor) {
  return actor.role == Role::kAdmin ? AttachSession::Reach::kAll : AttachSession::Reach::kOwn;
}

Error reattachUnsupported(std::string_view hostName) {
  return makeError(ErrorCode::kFailedPrecondition, fmt::format("the agent of host {} is too old to keep sessions", hostName))
      .withReason("reattach_unsupported")
      .withFix("upgrade gstacks-agent there");
}

Task<Result<std::vector<SessionInfo>>> SessionDirectory::list(Actor actor, SandboxId sandbox) {
  co_return co_await ask(std::move(actor), {SessionId::make(), std::move(sandbox), ListSessions{}});
}

Task<Status> SessionDirectory::checkAttachable(Actor actor, SandboxId sandbox, SessionId session) {
  const bool all = reachOf(actor) == AttachSession::Reach::kAll;
  const auto owner = actor.userId.text();
  GS_CO_TRY(const auto sessions, co_await list(std::move(actor), std::move(sandbox)));
  const auto found = std::ranges::find(sessions, session, &SessionInfo::sessionId);
  if (found != sessions.end() && (all || found->owner == owner)) co_return Status();
  co_return fail(ErrorCode::kNotFound, "there is no such session, or not any more");
}

Task<Status> SessionDirectory::end(Actor actor, SandboxId sandbox, SessionId session) {
  AuditRecord record;
  record.tenantId = actor.tenantId;
  record.actor = fmt::format("{}/{}", actor.userId, actor.apiKeyId);
  record.action = "session.close";
  record.subject = sandbox.text();
  record.detail = session.text();
  const EndSession end{actor.userId.text(), reachOf(actor)};
  GS_CO_CHECK(co_await ask(std::move(actor), {std::move(session), std::move(sandbox), end}));
  record.at = clock_.wallNow();
  co_return co_await store_.appendAudit(std::move(record));
}

Task<Result<std::vector<SessionInfo>>> SessionDirectory::ask(Actor actor, SessionOpen question) {
  GS_CO_TRY(const auto sandbox, co_await store_.getSandbox(actor.tenantId, question.sandboxId));
  if (sandbox.state != SandboxState::kRunning) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition,
                             fmt::format("the sandbox {} is {}, not running", sandbox.name, sandboxStateName(sandbox.state)))
                       .withReason("sandbox_not_running")
                       .withFix(fmt::format("start it: gstacks sandbox start {}", sandbox.name)));
  }
  GS_CO_TRY(const auto host, co_await store_.getHost(actor.tenantId, sandbox.hostId));
  if (std::ranges::find(host.features, kFeatureReattach) == host.features.end()) co_return fail(reattachUnsupported(host.name));
  const auto deadline = Deadline::after(kAnswerTime);
  GS_CO_TRY(const auto channel, co_await takeAndAsk(sandbox.hostId, std::move(question), deadline));
  auto replies = co_await withDeadline(deadline, "asking the sandbox about its sessions", readReplies(channel));
  channel->abort();
  co_return replies;
}

Task<Result<std::shared_ptr<WebSocket>>> SessionDirectory::takeAndAsk(HostId host, SessionOpen question, Deadline deadline) {
  const std::string bytes = encode(question);
  for (;;) {
    GS_CO_TRY(auto channel, co_await hub_.takeChannel(host, deadline));
    // A spare may have died unnoticed; nothing has begun on it then.
    if (co_await channel->write(bytes)) co_return channel;
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the host did not open a channel in time");
  }
}

}  // namespace gs

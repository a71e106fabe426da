#include "server/sessions/session_account.h"

#include "base/log.h"

namespace gs {
namespace {

Task<Status> writeAll(WebSocket& channel, const std::vector<std::string>& messages) {
  for (const auto& message : messages) GS_CO_CHECK(co_await channel.write(message));
  co_return Status();
}

}  // namespace

Task<Result<std::shared_ptr<WebSocket>>> SessionAccount::beginOnChannel(HostId host, std::vector<std::string> messages) {
  const auto deadline = Deadline::after(channelTimeout_);
  for (;;) {
    GS_CO_TRY(auto channel, co_await hub_.takeChannel(host, deadline));
    // A spare may have died unnoticed; nothing has begun on it then.
    if (co_await writeAll(*channel, messages)) co_return channel;
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the host did not open a channel in time");
  }
}

std::shared_ptr<void> SessionAccount::use(const SandboxId& sandbox) {
  ++inUse_[sandbox];
  return {this, [sandbox](SessionAccount* account) {
            const auto it = account->inUse_.find(sandbox);
            if (--it->second == 0) account->inUse_.erase(it);
          }};
}

std::vector<SandboxId> SessionAccount::sandboxesInUse() const {
  std::vector<SandboxId> out;
  for (const auto& [sandbox, uses] : inUse_) out.push_back(sandbox);
  return out;
}

// Only where somebody counts on it: a write for each begin and end.
Task<void> SessionAccount::noteActivity(SandboxRecord sandbox) {
  if (sandbox.idleStop == Seconds(0)) co_return;
  if (const auto noted = co_await store_.noteActivity(sandbox.id); !noted) {
    logWarn("activity_not_noted", {{"sandbox", sandbox.id.text()}, {"error", noted.error().describe()}});
  }
}

Task<Status> SessionAccount::audit(Actor actor, std::string action, SandboxId sandbox, std::string detail) {
  AuditRecord record;
  record.tenantId = actor.tenantId;
  record.actor = fmt::format("{}/{}", actor.userId, actor.apiKeyId);
  record.action = std::move(action);
  record.subject = sandbox.text();
  record.detail = std::move(detail);
  record.at = clock_.wallNow();
  co_return co_await store_.appendAudit(std::move(record));
}

}  // namespace gs

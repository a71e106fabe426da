#include "server/logs/sandbox_logs.h"

#include "async/with_deadline.h"

namespace gs {
namespace {

Error refused(std::string_view reason, std::string message, std::string fix) {
  return makeError(ErrorCode::kFailedPrecondition, std::move(message)).withReason(std::string(reason)).withFix(std::move(fix));
}

// Whether its host can be asked now.
Status checkHost(const SandboxRecord& sandbox, const HostRecord& host) {
  if (std::ranges::find(host.features, kFeatureLogs) == host.features.end()) {
    return fail(refused("agent_too_old", fmt::format("the agent of host {} keeps no logs", host.name), "upgrade it, and start the sandbox anew"));
  }
  if (host.state == HostState::kConnected) return {};
  return fail(refused("host_disconnected", fmt::format("host {}, which has the log of sandbox {}, is not connected", host.name, sandbox.name),
                      "wait until it is back"));
}

}  // namespace

SandboxLogs::Reader::Reader(SandboxLogs& logs, TenantId tenant) : logs_(logs), tenant_(std::move(tenant)) { ++logs_.readers_[tenant_]; }

SandboxLogs::Reader::~Reader() {
  if (channel_) channel_->abort();
  const auto it = logs_.readers_.find(tenant_);
  if (--it->second == 0) logs_.readers_.erase(it);
}

Task<Result<LogsFrame>> SandboxLogs::Reader::next(Deadline deadline) {
  if (logs_.stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
  auto message = co_await withDeadline(deadline, "the log", channel_->read());
  if (!message && message.error().code == ErrorCode::kDeadlineExceeded) co_return LogsFrame();
  if (!message) co_return fail(std::move(message).error());
  co_return decodeLogsFrame(*message);
}

Task<Result<std::unique_ptr<SandboxLogs::Reader>>> SandboxLogs::open(Actor actor, SandboxId id, LogsSession wish) {
  if (stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
  if (const auto it = readers_.find(actor.tenantId); it != readers_.end() && it->second >= settings_.maxPerTenant) {
    co_return fail(makeError(ErrorCode::kResourceExhausted,
                             fmt::format("{} logs of this tenant are being read, which is the most", settings_.maxPerTenant))
                       .withReason("too_many")
                       .withFix("end one"));
  }
  auto reader = std::make_unique<Reader>(*this, actor.tenantId);
  GS_CO_TRY(const auto sandbox, co_await store_.getSandbox(actor.tenantId, id));
  if (sandbox.hostId.empty()) {
    co_return fail(refused("no_host", fmt::format("sandbox {} is on no host, and its log is where it ran", sandbox.name),
                           "read the log before a sandbox is archived"));
  }
  GS_CO_TRY(const auto host, co_await store_.getHost(actor.tenantId, sandbox.hostId));
  GS_CO_CHECK(checkHost(sandbox, host));
  SessionOpen message;
  message.sessionId = SessionId::make();
  message.sandboxId = sandbox.id;
  message.kind = std::move(wish);
  const std::string bytes = encode(message);
  const auto deadline = Deadline::after(settings_.channelTimeout);
  while (true) {
    GS_CO_TRY(reader->channel_, co_await hub_.takeChannel(host.id, deadline));
    // A spare may have died unnoticed; nothing has begun on it then.
    if (co_await reader->channel_->write(bytes)) co_return reader;
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the host did not open a channel in time");
  }
}

}  // namespace gs

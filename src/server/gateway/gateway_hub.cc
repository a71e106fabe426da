#include "server/gateway/gateway_hub.h"

#include "base/log.h"
#include "server/gateway/agent_link.h"

namespace gs {
namespace {

constexpr Millis kMaxTick{500};
constexpr Millis kMaxSilence{9'000};  // with a tick on top still noticed within ten seconds
constexpr Millis kLookAtDuplicates{60'000};
constexpr std::uint16_t kSilent = 4408;
constexpr std::uint16_t kSuperseded = 4409;
constexpr std::uint16_t kGoingAway = 1001;

}  // namespace

GatewayHub::GatewayHub(Executor executor, Store& store, SandboxEvents& events, BlobCredentials& credentials,
                       const Clock& clock, GatewaySettings settings)
    : executor_(executor),
      store_(store),
      events_(events),
      credentials_(credentials),
      clock_(clock),
      settings_(settings),
      tasks_(executor) {
  tasks_.spawn("link watch", watch());
  tasks_.spawn("duplicate identities", clearDuplicates());
}
GatewayHub::~GatewayHub() = default;

bool GatewayHub::isConnected(const HostId& host) const { return links_.contains(host); }

std::shared_ptr<AgentLink> GatewayHub::findLink(const HostId& host) const {
  const auto it = links_.find(host);
  return it == links_.end() ? nullptr : it->second;
}

Millis GatewayHub::telemetryInterval() const {
  return Millis(links_.size() * 1'000 / std::max<std::size_t>(settings_.telemetryWritesPerSecond, 1));
}

void GatewayHub::sendAssignment(const HostId& host, const Assignment& assignment) {
  const auto link = findLink(host);
  if (!link) return;
  link->assign(assignment);
  link->expectSessions();
}

void GatewayHub::cut(const HostId& host, std::uint16_t code, std::string reason) {
  for (const auto& weak : greeting_) {
    if (const auto link = weak.lock(); link && link->host() == host) end(link, code, reason, "link_closed", Ending::kRecorded);
  }
  if (const auto link = findLink(host)) end(link, code, std::move(reason), "link_closed", Ending::kRecorded);
}

Task<Result<std::shared_ptr<WebSocket>>> GatewayHub::takeChannel(HostId host, Deadline deadline) {
  const auto link = findLink(host);
  if (!link) co_return fail(ErrorCode::kUnavailable, "the host is not connected");
  if (!link->canExec()) co_return fail(ErrorCode::kUnavailable, "the host's agent cannot open sessions");
  co_return co_await link->channels().take(deadline);
}

void GatewayHub::noteReport(const HostId& host) {
  if (reported_.insert(host).second) events_.notify(SandboxId());  // somebody may have waited for that
}

void GatewayHub::askInventory(const HostId& host) {
  if (const auto link = findLink(host)) link->send(InventoryRequest{});
}

std::vector<HeldSandbox> GatewayHub::unknownSandboxes(const HostId& host) const {
  const auto link = findLink(host);
  return link ? link->unknownSandboxes() : std::vector<HeldSandbox>();
}

namespace {

Error notConnected(std::string fix) {
  return makeError(ErrorCode::kFailedPrecondition, "the host is not connected").withReason("host_disconnected").withFix(std::move(fix));
}

}  // namespace

Task<Result<std::uint32_t>> GatewayHub::confirmDeletions(HostId host, std::string fence, Deadline deadline) {
  const auto link = findLink(host);
  if (!link) co_return fail(notConnected("confirm on the host: gstacks-agent deletions confirm"));
  co_return co_await link->confirmDeletions(std::move(fence), deadline);
}

Task<Result<std::uint32_t>> GatewayHub::rejectDeletions(HostId host, std::string fence, Deadline deadline) {
  const auto link = findLink(host);
  if (!link) co_return fail(notConnected("reject on the host: gstacks-agent deletions reject"));
  co_return co_await link->rejectDeletions(std::move(fence), deadline);
}

Task<void> GatewayHub::serveLink(HostId host, std::string serialHex, std::shared_ptr<WebSocket> socket) {
  if (stopping_) co_return co_await socket->close(kGoingAway, "the server stops");
  const auto link = std::make_shared<AgentLink>(*this, std::move(host), std::move(socket));
  greeting_.push_back(link);
  co_await link->run(std::move(serialHex));
}

Status GatewayHub::takeTicket(const HostId& host, std::string_view ticket) {
  const auto link = findLink(host);
  if (link && link->channels().useTicket(ticket)) return {};
  return fail(makeError(ErrorCode::kUnauthenticated, "the channel ticket is not known, used or too old").withReason("ticket_unknown"));
}

Task<void> GatewayHub::serveChannel(HostId host, std::shared_ptr<WebSocket> socket) {
  const auto link = findLink(host);
  if (!link) co_return socket->abort();
  co_await link->channels().park(std::move(socket));
}

bool GatewayHub::adopt(const std::shared_ptr<AgentLink>& link) {
  if (stopping_) return false;
  if (const auto before = findLink(link->host())) {
    if (before->epoch() > link->epoch()) return false;
    link->takeOverFrom(*before);
    // Sessions that run keep their channels: they are connections of the same host, and cut with its newest link.
    before->channels().close(&link->channels());
    end(before, kSuperseded, "a newer link of this host exists", "superseded", Ending::kSuperseded);
  }
  links_[link->host()] = link;
  return true;
}

void GatewayHub::watchIdentity(const HostId& host, const Takeover& takeover) {
  const auto now = clock_.steadyNow();
  const auto found = contradictions_.find(host);
  const auto last = found == contradictions_.end() ? std::nullopt : std::optional(found->second);
  const auto verdict = judgeTakeover(takeover, last, now);
  if (verdict == IdentityVerdict::kFine) return;
  contradictions_[host] = {takeover.namedEpoch, now};
  logWarn("identity_contradicted", {{"host", host.text()},
                                    {"named_epoch", takeover.namedEpoch},
                                    {"epoch", takeover.presentEpoch},
                                    {"duplicate", verdict == IdentityVerdict::kDuplicate}});
  if (verdict == IdentityVerdict::kDuplicate) tasks_.spawn("flag duplicate", flagDuplicate(host));
}

Task<void> GatewayHub::flagDuplicate(HostId host) {
  const auto done = co_await store_.flagDuplicateIdentity(host, clock_.wallNow());
  if (!done) logWarn("duplicate_not_flagged", {{"host", host.text()}, {"error", done.error().describe()}});
}

Task<void> GatewayHub::clearDuplicates() {
  for (;;) {
    const auto done = co_await store_.clearDuplicateIdentities(clock_.wallNow() - kIdentityQuiet);
    if (!done) logWarn("duplicates_not_looked_at", {{"error", done.error().describe()}});
    std::erase_if(contradictions_, [&](const auto& each) { return clock_.steadyNow() - each.second.at > kIdentityWindow; });
    co_await sleepFor(kLookAtDuplicates);
  }
}

void GatewayHub::end(const std::shared_ptr<AgentLink>& link, std::uint16_t code, std::string closeReason,
                     std::string disconnectReason, Ending ending) {
  if (link->ended()) return;
  link->markEnded();
  if (const auto it = links_.find(link->host()); it != links_.end() && it->second == link) links_.erase(it);
  link->channels().close(nullptr);
  logInfo("link_down", {{"host", link->host().text()}, {"epoch", link->epoch()}, {"code", code}, {"reason", disconnectReason}});
  tasks_.spawn("link end", finish(link, code, std::move(closeReason), std::move(disconnectReason), ending));
}

Task<void> GatewayHub::finish(std::shared_ptr<AgentLink> link, std::uint16_t code, std::string closeReason,
                              std::string disconnectReason, Ending ending) {
  // First the record: closing waits for a peer that may be gone.
  if (ending == Ending::kRecorded && link->epoch() != 0) {
    const auto done = co_await store_.linkDown(link->host(), static_cast<std::int64_t>(link->epoch()),
                                               std::move(disconnectReason), clock_.wallNow());
    if (!done) logWarn("link_down_not_recorded", {{"host", link->host().text()}, {"error", done.error().describe()}});
    events_.notify(SandboxId());
  }
  co_await link->close(code, std::move(closeReason));
}

Task<void> GatewayHub::watch() {
  const Millis tick = std::max(Millis(5), std::min(kMaxTick, settings_.heartbeat / 4));
  const Millis silence = std::min(3 * settings_.heartbeat, std::max(kMaxSilence, settings_.heartbeat));
  for (;;) {
    co_await sleepFor(tick);
    const auto now = clock_.steadyNow();
    std::vector<std::shared_ptr<AgentLink>> lost;
    for (const auto& [host, link] : links_) {
      if (now - link->heardAt() > silence) {
        lost.push_back(link);
      } else {
        link->channels().tend();
      }
    }
    for (const auto& link : lost) end(link, kSilent, "no heartbeat", "heartbeat_lost", Ending::kRecorded);
    std::vector<std::shared_ptr<AgentLink>> mute;
    std::erase_if(greeting_, [&](const std::weak_ptr<AgentLink>& weak) {
      const auto link = weak.lock();
      if (!link || (link->greeted() && (link->ended() || link->epoch() != 0))) return true;
      if (!link->greeted() && now - link->heardAt() > settings_.helloTimeout) mute.push_back(link);
      return false;
    });
    for (const auto& link : mute) end(link, kSilent, "no hello", "link_closed", Ending::kRecorded);
  }
}

Task<void> GatewayHub::stop() {
  stopping_ = true;
  TaskGroup closers(executor_);
  for (const auto& weak : greeting_) {
    const auto link = weak.lock();
    if (!link || link->ended()) continue;
    if (link->epoch() == 0) {
      link->markEnded();
      closers.spawn("close", link->close(kGoingAway, "the server stops"));
    }
  }
  for (const auto& [host, link] : links_) {
    link->markEnded();
    link->channels().close(nullptr);
    closers.spawn("close", link->close(kGoingAway, "the server stops"));
  }
  links_.clear();
  co_await closers.join();
  co_await tasks_.cancelAndJoin();
}

}  // namespace gs

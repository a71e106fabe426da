// What must be true when all is healed.
#include "server/core/sandbox_view.h"
#include "world.h"

namespace gs::sim {
namespace {

constexpr Millis kLinkTime{60'000};
// A call that hung when all was healed ends after a minute, and a lost word is looked for after another.
constexpr Millis kPeaceTime{300'000};
// The server looks twice a minute.
constexpr Millis kDeadlineLate{35'000};
// A host notices after nine seconds or so that nobody answers; a stop takes its grace.
constexpr Millis kCalmPartition{45'000};

}  // namespace

Task<void> World::waitForLinks(std::string rule) {
  const auto deadline = Deadline::after(kLinkTime);
  const auto up = [this] {
    return std::ranges::all_of(agents_, [&](const auto& a) { return a->linked() && server_.hears(a->hostId); });
  };
  while (!up() && !deadline.expired() && going()) co_await sleepFor(Millis(100));
  if (!up()) simulation_.violate(rule, "a minute after all was healed a host is not linked");
}

Task<void> World::waitForPeace() {
  const auto deadline = Deadline::after(kPeaceTime);
  std::string why = "not looked";
  while (going() && !deadline.expired()) {
    co_await lookOnce();
    why = discord();
    if (why.empty()) co_return;
    co_await sleepFor(Millis(300));
  }
  if (!why.empty()) simulation_.violate("liveness", why);
}

std::string World::discord() const {
  // What an older copy of the database makes of sandboxes that are newer than it is for a person to say; that nothing is
  // destroyed is checked at every effect.
  for (const auto& record : records_) {
    if (ledger_.restored() && !ledger_.isAdopted(record.id)) continue;
    if (auto why = discordOf(record); !why.empty()) return why;
  }
  if (ledger_.restored()) return "";
  const auto known = [this](const SandboxId& id) { return std::ranges::any_of(records_, [&](const auto& r) { return r.id == id; }); };
  for (const auto& agent : agents_) {
    auto* const supervisor = agent->supervisor();
    if (supervisor == nullptr) return agent->name() + " is not up";
    if (!supervisor->unacknowledged().empty()) return agent->name() + " has told something that is not acknowledged";
    for (const auto& version : supervisor->versions()) {
      if (!known(version.sandboxId)) return fmt::format("{} keeps a record of {}, which is gone", agent->name(), version.sandboxId);
    }
    for (const auto& [id, container] : agent->engine.containers()) {
      // A create that was under way when its agent died may be done after the sandbox was deleted. Nobody may remove
      // what is left (rule 4), but it must not run, and the host must know of it.
      const auto strangers = supervisor->strangers();
      const bool left = !container.seen.alive() && std::ranges::find(strangers, id) != strangers.end();
      if (!known(id) && !left) return fmt::format("{} has a container of {}, which is gone", agent->name(), id);
    }
  }
  return "";
}

std::string World::discordOf(const SandboxRecord& record) const {
  const auto describe = [&](std::string_view what) {
    return fmt::format("{} is wanted {} in generation {} and is {} ({}: {}) by generation {}: {}", record.id, desiredStateName(record.desired),
                       record.generation, sandboxStateName(record.state), record.reason, record.message, record.observedGeneration, what);
  };
  const auto wish = ledger_.wishes().find(record.id);
  const bool byDeadline = record.desiredBy == kTtlActor || record.desiredBy == kIdleActor;
  if (wish != ledger_.wishes().end() && wish->second.certain && *wish->second.certain != record.desired && !byDeadline) {
    return describe("the user was told otherwise");
  }
  const auto* agent = agentOf(record.hostId);
  const auto found = agent->engine.containers().find(record.id);
  const auto* container = found == agent->engine.containers().end() ? nullptr : &found->second;
  const bool runs = container != nullptr && container->seen.alive();
  if (!isCurrent(record)) return describe("nothing was observed of what is wanted");
  const auto now = server_.clock.wallNow();
  if (record.expiresAt && *record.expiresAt + kDeadlineLate < now) return describe("it has expired");
  if (record.desired == DesiredState::kRunning && record.state == SandboxState::kRunning && record.idleStop != Seconds(0) &&
      record.activeAt && *record.activeAt + record.idleStop + kDeadlineLate < now && !server_.inUse(record.id)) {
    return describe("it is idle");
  }
  switch (record.desired) {
    case DesiredState::kDeleted: return describe("it is still there");
    // No user of this world wants it yet.
    case DesiredState::kArchived: return describe("nobody asked for an archive");
    case DesiredState::kStopped: return record.state == SandboxState::kStopped && !runs ? "" : describe(runs ? "it runs" : "it is not told as stopped");
    case DesiredState::kRunning: break;
  }
  if (record.state == SandboxState::kRunning) {
    if (!runs || !container->gateOpen) return describe("it does not run");
    if (static_cast<std::int64_t>(container->seen.generation) < record.rootGeneration) return describe("it runs on an old root");
    return container->workload.phase == WorkloadState::Phase::kExited ? describe("its workload has ended") : "";
  }
  const bool excused = wish != ledger_.wishes().end() && wish->second.excuses.contains(record.reason);
  const bool ended = record.state == SandboxState::kFailed || record.state == SandboxState::kStopped;
  if (ended && excused && !runs) return "";
  return describe(runs ? "it runs" : "it does not run");
}

// Nothing else goes wrong: what is to be stopped without a control plane is, what is to be kept is kept, and all comes back.
Task<void> World::partitionInPeace() {
  auto& agent = someAgent();
  const auto index = static_cast<std::size_t>(std::ranges::find_if(agents_, [&](const auto& a) { return a.get() == &agent; }) - agents_.begin());
  std::vector<SandboxId> before;
  for (const auto& [id, container] : agent.engine.containers()) {
    if (container.seen.alive()) before.push_back(id);
  }
  if (before.empty()) co_return;
  simulation_.trace("net host{} blocked in peace", index);
  network_.block(index, Way::kUp, true);
  network_.block(index, Way::kDown, true);
  co_await sleepFor(kCalmPartition);
  for (const auto& id : before) {
    const auto held = agent.held(id);
    const auto found = agent.engine.containers().find(id);
    const bool runs = found != agent.engine.containers().end() && found->second.seen.alive();
    const bool stopped = found == agent.engine.containers().end() || found->second.endedBy == EndedBy::kAgent;
    const bool minds = held && held->assignment.spec.stopAfterDisconnect != Seconds(0);
    if (minds && runs) simulation_.violate("disconnect stop", fmt::format("{} runs on without a control plane", id));
    if (!minds && !runs && stopped) simulation_.violate("partition", fmt::format("{} was ended, and is to be kept", id));
  }
  network_.healAll();
  if (going()) co_await waitForLinks("liveness");
  if (going()) co_await waitForPeace();
}

}  // namespace gs::sim

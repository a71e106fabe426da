#include "server/sandboxes/waiting_room.h"

#include <set>

#include "async/deadline.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kInterval{5'000};
constexpr Millis kBreath{200};  // at least, between two rounds

// Two with the same key fit the same hosts.
std::string keyOf(const SandboxRecord& s) {
  std::string out = fmt::format("{}/{}/{}/{}/{}/{}/{}", s.tenantId, s.clusterId, s.demands.host ? s.demands.host->text() : "",
                                s.spec.runtime, s.blueprintId, s.spec.resources.cpuMillis, s.spec.resources.memoryBytes);
  for (const auto& trait : s.demands.traits) out += "/" + trait;
  for (const auto& [key, value] : s.demands.tags) out += fmt::format("/{}={}", key, value);
  return out;
}

}  // namespace

WaitingRoom::WaitingRoom(const Executor& executor, Store& store, SandboxService& sandboxes, SandboxEvents& wakeUp,
                         const HostReports& reports, const Clock& clock, WaitingRoomSettings settings)
    : store_(store), sandboxes_(sandboxes), wakeUp_(wakeUp), reports_(reports), clock_(clock), settings_(settings), tasks_(executor) {}

void WaitingRoom::begin() {
  beganAt_ = clock_.wallNow();
  awaitUntil_ = clock_.steadyNow() + settings_.awaitHosts;
  tasks_.spawn("waiting room", run());
}

Task<bool> WaitingRoom::mayBeElsewhere(const SandboxRecord& sandbox, std::map<ClusterId, bool>& known) {
  // One for a named host can be nowhere else, and there it is found when it is assigned.
  if (sandbox.createdAt >= beganAt_ || sandbox.demands.host || clock_.steadyNow() >= awaitUntil_) co_return false;
  if (const auto found = known.find(sandbox.clusterId); found != known.end()) co_return found->second;
  const auto hosts = co_await store_.hostIds(sandbox.clusterId);
  const bool may = !hosts || std::ranges::any_of(*hosts, [this](const auto& host) { return !reports_.hasReported(host); });
  known[sandbox.clusterId] = may;
  co_return may;
}

Task<void> WaitingRoom::run() {
  for (;;) {
    const auto seen = wakeUp_.changes();
    const auto began = std::chrono::steady_clock::now();
    co_await round();
    ++rounds_;
    // As long as it took, at least: half of the store's time is for others.
    const auto took = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - began);
    co_await sleepFor(std::max(kBreath, took));
    const auto again = Deadline::after(kInterval);
    while (wakeUp_.changes() == seen && !again.expired()) co_await wakeUp_.wait(again);
  }
}

Task<void> WaitingRoom::round() {
  const auto waiting = co_await store_.listWaiting();
  if (!waiting) {
    logWarn("waiting_not_read", {{"error", waiting.error().describe()}});
    co_return;
  }
  std::set<std::string> refused;
  std::map<ClusterId, bool> awaited;
  for (const auto& sandbox : *waiting) {
    const std::string key = keyOf(sandbox);
    if (refused.contains(key) || co_await mayBeElsewhere(sandbox, awaited)) continue;
    const auto placed = co_await sandboxes_.placeWaiting(sandbox);
    if (placed) continue;
    refused.insert(key);
    if (placed.error().reason != "no_host_fits") {
      logWarn("waiting_not_placed", {{"sandbox", sandbox.id.text()}, {"error", placed.error().describe()}});
    }
  }
}

}  // namespace gs

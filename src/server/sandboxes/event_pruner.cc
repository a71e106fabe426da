#include "server/sandboxes/event_pruner.h"

#include "async/deadline.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kInterval = std::chrono::minutes(1);
constexpr Millis kBreath{20};  // between two batches, for whoever waits for the store

}  // namespace

EventPruner::EventPruner(const Executor& executor, Store& store, SandboxEventLimits limits)
    : store_(store), limits_(limits), tasks_(executor) {}

void EventPruner::begin() { tasks_.spawn("event pruner", run()); }

Task<void> EventPruner::run() {
  for (;;) {
    const auto gone = co_await store_.pruneSandboxEvents(limits_);
    if (!gone) logWarn("events_not_pruned", {{"error", gone.error().describe()}});
    co_await sleepFor(gone.value_or(0) > 0 ? kBreath : kInterval);
  }
}

}  // namespace gs

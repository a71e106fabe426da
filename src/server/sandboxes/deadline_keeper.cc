#include "server/sandboxes/deadline_keeper.h"

#include "async/deadline.h"
#include "base/log.h"

namespace gs {
namespace {

// No deadline is shorter than a minute, so one that is set meanwhile is not missed either.
constexpr Millis kLongestSleep{30'000};
constexpr Millis kShortestSleep{50};

}  // namespace

DeadlineKeeper::DeadlineKeeper(const Executor& executor, SandboxService& sandboxes, const Clock& clock, InUse inUse)
    : sandboxes_(sandboxes), clock_(clock), inUse_(std::move(inUse)), tasks_(executor) {}

void DeadlineKeeper::begin() { tasks_.spawn("deadlines", run()); }

Task<void> DeadlineKeeper::run() {
  for (;;) {
    const auto next = co_await sandboxes_.actOnDeadlines(inUse_());
    if (!next) logWarn("deadlines_not_kept", {{"error", next.error().describe()}});
    Millis sleep = kLongestSleep;
    if (next && *next) sleep = std::clamp<Millis>(**next - clock_.wallNow(), kShortestSleep, kLongestSleep);
    co_await sleepFor(sleep);
  }
}

}  // namespace gs

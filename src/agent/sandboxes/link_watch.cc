#include "agent/sandboxes/link_watch.h"

#include "async/deadline.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kSettles{2'000};
constexpr Millis kRememberAgain{500};

}  // namespace

void LinkWatch::begin() { tasks_.spawn("link outage", watch()); }

void LinkWatch::linkUp() {
  up_ = true;
  tasks_.spawn("settle link", settle(++links_));
}

void LinkWatch::linkDown() {
  up_ = false;
  outage_.linkDown();
  sandboxes_.linkChanged();
  tasks_.spawn("remember outage", rememberOnce());
}

Task<void> LinkWatch::settle(std::uint64_t link) {
  co_await sleepFor(kSettles);
  if (!up_ || links_ != link) co_return;
  outage_.linkUp();
  sandboxes_.linkChanged();
  while (up_ && links_ == link) {
    if (co_await remember()) co_return;
    co_await sleepFor(kRememberAgain);
  }
}

Task<void> LinkWatch::watch() {
  while (true) {
    if (sandboxes_.mindTheLink()) (void)co_await remember();
    co_await sleepFor(LinkOutage::kRememberEvery);
  }
}

Task<void> LinkWatch::rememberOnce() { (void)co_await remember(); }

Task<Status> LinkWatch::remember() {
  auto saved = co_await outage_.remember();
  if (!saved) logWarn("link_outage_not_saved", {{"error", saved.error().describe()}});
  co_return saved;
}

}  // namespace gs

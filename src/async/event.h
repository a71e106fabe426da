// Something happened: the loop-thread condition variable that channels, outboxes and waits are built from.
//
// Loop thread only. Spurious wake-ups are allowed; callers re-check their condition in a loop.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/deadline.h"

namespace gs {

class Event {
 public:
  explicit Event(const Executor& executor);
  void notifyAll();
  // Returns when notified or when the time is over.
  [[nodiscard]] Task<void> waitUntil(Deadline deadline);
  [[nodiscard]] Task<void> waitFor(Millis delay) { return waitUntil(Deadline::after(delay)); }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace gs

// Closes a stream when time is over: how every read and write in this module is bounded, without a race of coroutines.
//
// Loop thread only; must not outlive the stream, which must stay at its address. Re-arming is cheap: the timer is only
// touched when the new time is earlier than the one that it waits for.
#pragma once

#include <memory>

#include "async/deadline.h"
#include "net/byte_stream.h"

namespace gs {

class Watchdog {
 public:
  Watchdog(const Executor& executor, ByteStream& stream);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void arm(Deadline deadline);
  void disarm() { arm(Deadline::never()); }
  // True once it has closed the stream.
  [[nodiscard]] bool expired() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace gs

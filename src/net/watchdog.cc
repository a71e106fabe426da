#include "net/watchdog.h"

#include <boost/asio/steady_timer.hpp>

namespace gs {

struct Watchdog::State : std::enable_shared_from_this<State> {
  State(const Executor& executor, ByteStream& s) : timer(executor), stream(&s) {}

  void wait(SteadyTime time) {
    waitingFor = time;
    timer.expires_at(time);  // ends an earlier wait, whose handler sees that it is not the newest
    timer.async_wait([self = shared_from_this(), time](const boost::system::error_code&) { self->fired(time); });
  }
  void fired(SteadyTime time) {
    if (stream == nullptr || time != waitingFor) return;
    waitingFor = SteadyTime::max();
    if (due == SteadyTime::max()) return;
    if (std::chrono::steady_clock::now() < due) return wait(due);
    expired = true;
    stream->close();
  }

  asio::steady_timer timer;
  ByteStream* stream;
  SteadyTime due = SteadyTime::max();
  SteadyTime waitingFor = SteadyTime::max();
  bool expired = false;
};

Watchdog::Watchdog(const Executor& executor, ByteStream& stream) : state_(std::make_shared<State>(executor, stream)) {}

Watchdog::~Watchdog() {
  state_->stream = nullptr;
  state_->timer.cancel();
}

void Watchdog::arm(Deadline deadline) {
  state_->due = deadline.time();
  if (state_->due < state_->waitingFor) state_->wait(state_->due);
}

bool Watchdog::expired() const {
  return state_->expired;
}

}  // namespace gs

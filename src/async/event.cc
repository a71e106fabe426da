#include "async/event.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>

#include <list>

namespace gs {

struct Event::State {
  explicit State(Executor e) : executor(std::move(e)) {}
  Executor executor;
  std::list<asio::steady_timer*> waiters;
};

Event::Event(const Executor& executor) : state_(std::make_shared<State>(executor)) {}

void Event::notifyAll() {
  for (auto* timer : state_->waiters) timer->cancel();
}

Task<void> Event::waitUntil(Deadline deadline) {
  const auto state = state_;
  asio::steady_timer timer(state->executor);
  timer.expires_at(deadline.time());
  const auto position = state->waiters.insert(state->waiters.end(), &timer);
  struct Leave {
    State& state;
    std::list<asio::steady_timer*>::iterator position;
    ~Leave() { state.waiters.erase(position); }
  } const leave{*state, position};
  // A notify and a cancellation both end the wait with operation_aborted; only the latter must travel on.
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  const auto cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
  if (cancelled != asio::cancellation_type::none) throw boost::system::system_error(asio::error::operation_aborted);
}

}  // namespace gs

#include "async/deadline.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace gs {

Millis Deadline::remaining() const {
  if (isNever()) return std::chrono::hours(24);
  const auto left = std::chrono::duration_cast<Millis>(time_ - std::chrono::steady_clock::now());
  return std::max(left, Millis(0));
}

Task<void> sleepFor(Millis delay) {
  asio::steady_timer timer(co_await asio::this_coro::executor, delay);
  co_await timer.async_wait(asio::use_awaitable);
}

Task<void> sleepUntil(Deadline deadline) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_at(deadline.time());
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace gs

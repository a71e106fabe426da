// Runs a task and cancels it when the deadline passes. Apart from deadline.h because the race costs compile time.
#pragma once

#include "async/deadline.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/system/system_error.hpp>

namespace gs {

// The task's own result, or kDeadlineExceeded naming `what`. The task is cancelled and has ended when this returns.
// Cancelling the outer coroutine cancels the task and ends with operation_aborted.
template <class T>
Task<Result<T>> withDeadline(Deadline deadline, std::string what, Task<Result<T>> task) {
  using namespace boost::asio::experimental::awaitable_operators;
  if (deadline.isNever()) co_return co_await std::move(task);
  auto winner = co_await (std::move(task) || sleepUntil(deadline));
  if (winner.index() == 0) co_return std::move(std::get<0>(winner));
  co_return fail(ErrorCode::kDeadlineExceeded, what + " took too long");
}

}  // namespace gs

// Runs one task to its end on a private loop. For tests and for command-line programs; a daemon owns its loop.
//
// Returns when the task has ended, not when the loop is empty: an idle connection's timer must not hold a program up.
// What is left in the loop goes on in the next call.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <optional>

#include "async/task.h"

namespace gs {

template <class T>
T runTask(asio::io_context& loop, Task<T> task) {
  std::exception_ptr failure;
  bool ended = false;
  // A pool thread that lets go of the loop last stops it, also when that is after this task and during the next: so a
  // stop alone says nothing.
  const auto runUntilEnded = [&] {
    const auto work = asio::make_work_guard(loop);
    while (!ended) {
      loop.restart();
      loop.run();
    }
    loop.restart();
  };
  if constexpr (std::is_void_v<T>) {
    asio::co_spawn(loop, std::move(task), [&](std::exception_ptr e) {
      failure = e;
      ended = true;
      loop.stop();
    });
    runUntilEnded();
    if (failure) std::rethrow_exception(failure);
  } else {
    std::optional<T> result;
    asio::co_spawn(loop, std::move(task), [&](std::exception_ptr e, T value) {
      failure = e;
      if (!e) result.emplace(std::move(value));
      ended = true;
      loop.stop();
    });
    runUntilEnded();
    if (failure) std::rethrow_exception(failure);
    return std::move(*result);
  }
}

}  // namespace gs

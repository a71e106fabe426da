// Threads for what blocks: SQLite, hashing, fsync, unpacking. The loop thread never does these.
//
// run() is not cancellable: the work ends by itself, and its result is dropped when the waiter was cancelled. The pool
// is joined on destruction, so work must end. One pool with one thread is also how a database connection is kept to one
// thread (see db/database_thread.h). A pool over a WorkRunner has no threads: the runner decides when, and whether, the
// work is done, on the loop. That is how the simulation (tests/sim) owns disks.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/task.h"

namespace gs {

class WorkRunner {
 public:
  // Given success it does the work; given an error it does nothing, and the waiter gets that error.
  using Job = std::move_only_function<void(Status)>;
  virtual ~WorkRunner() = default;
  // Calls the job once, on the loop, not within this call. Jobs of one runner are called in the order of submission.
  virtual void submit(Job job) = 0;
};

class BlockingPool {
 public:
  explicit BlockingPool(std::size_t threads) : pool_(std::in_place, threads) {}
  // The runner outlives the pool.
  explicit BlockingPool(WorkRunner& runner) : runner_(&runner) {}
  ~BlockingPool() {
    if (pool_) pool_->join();
  }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs `work` on a pool thread and resumes the caller on its own executor. `work` returns Result<T> or Status; an
  // exception out of it (a library that threw) becomes kInternal. It must own what it touches.
  template <class F>
  [[nodiscard]] Task<std::invoke_result_t<F>> run(F work) {
    using R = std::invoke_result_t<F>;
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(R)>(
        Initiation<F>{pool_ ? &*pool_ : nullptr, runner_, std::move(work)}, asio::use_awaitable);
  }

 private:
  template <class F>
  struct Initiation {
    asio::thread_pool* pool;
    WorkRunner* runner;
    F work;

    template <class Handler>
    void operator()(Handler handler) {
      auto executor = asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked);
      auto job = [handler = std::move(handler), executor = std::move(executor), work = std::move(work)](Status may) mutable {
        auto result = may ? guarded(work) : std::invoke_result_t<F>(std::unexpected(std::move(may).error()));
        asio::post(executor, [handler = std::move(handler), result = std::move(result)]() mutable {
          std::move(handler)(std::move(result));
        });
      };
      if (runner != nullptr) return runner->submit(std::move(job));
      asio::post(*pool, [job = std::move(job)]() mutable { job(Status()); });
    }
    static std::invoke_result_t<F> guarded(F& work) {
      try {
        return work();
      } catch (const std::exception& e) {
        return fail(ErrorCode::kInternal, std::string("blocking work threw: ") + e.what());
      }
    }
  };

  std::optional<asio::thread_pool> pool_;
  WorkRunner* runner_ = nullptr;
};

}  // namespace gs

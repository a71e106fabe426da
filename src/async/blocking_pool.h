// Threads for what blocks: SQLite, hashing, fsync, unpacking. The loop thread never does these.
//
// run() is not cancellable: the work ends by itself, and its result is dropped when the waiter was cancelled. The pool
// is joined on destruction, so work must end. One pool with one thread is also how a database connection is kept to one
// thread (see db/database_thread.h).
#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/task.h"

namespace gs {

class BlockingPool {
 public:
  explicit BlockingPool(std::size_t threads) : pool_(threads) {}
  ~BlockingPool() { pool_.join(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs `work` on a pool thread and resumes the caller on its own executor. `work` returns Result<T> or Status; an
  // exception out of it (a library that threw) becomes kInternal. It must own what it touches.
  template <class F>
  [[nodiscard]] Task<std::invoke_result_t<F>> run(F work) {
    using R = std::invoke_result_t<F>;
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(R)>(
        Initiation<F>{&pool_, std::move(work)}, asio::use_awaitable);
  }

 private:
  template <class F>
  struct Initiation {
    asio::thread_pool* pool;
    F work;

    template <class Handler>
    void operator()(Handler handler) {
      auto executor = asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked);
      asio::post(*pool, [handler = std::move(handler), executor = std::move(executor), work = std::move(work)]() mutable {
        auto result = guarded(work);
        asio::post(executor, [handler = std::move(handler), result = std::move(result)]() mutable {
          std::move(handler)(std::move(result));
        });
      });
    }
    static std::invoke_result_t<F> guarded(F& work) {
      try {
        return work();
      } catch (const std::exception& e) {
        return fail(ErrorCode::kInternal, std::string("blocking work threw: ") + e.what());
      }
    }
  };

  asio::thread_pool pool_;
};

}  // namespace gs

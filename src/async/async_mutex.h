// Serialises tasks of one loop over co_await, in arrival order as far as the loop allows. Loop thread only.
#pragma once

#include "async/event.h"

namespace gs {

class AsyncMutex {
 public:
  explicit AsyncMutex(const Executor& executor) : released_(executor) {}

  class Guard {
   public:
    explicit Guard(AsyncMutex* mutex) : mutex_(mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (mutex_ == nullptr) return;
      mutex_->held_ = false;
      mutex_->released_.notifyAll();
    }

   private:
    AsyncMutex* mutex_;
  };

  // The mutex must outlive the guard. Cancellation leaves the mutex untouched.
  [[nodiscard]] Task<Guard> lock() {
    while (held_) co_await released_.waitUntil(Deadline::never());
    held_ = true;
    co_return Guard(this);
  }

 private:
  Event released_;
  bool held_ = false;
};

}  // namespace gs

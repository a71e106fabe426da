// A bounded queue between tasks of one loop: a full queue makes the writer wait, a closed one tells the reader.
//
// Loop thread only. Values come out in the order in which they went in. close() is idempotent; values that were queued
// before it are still delivered.
#pragma once

#include <deque>
#include <optional>

#include "async/event.h"

namespace gs {

template <class T>
class Channel {
 public:
  Channel(const Executor& executor, std::size_t capacity) : capacity_(capacity), changed_(executor) {}

  // Waits while full. False when closed (the value is dropped).
  [[nodiscard]] Task<bool> push(T value) {
    while (!closed_ && items_.size() >= capacity_) co_await changed_.waitUntil(Deadline::never());
    co_return tryPush(std::move(value));
  }
  // False when full or closed.
  [[nodiscard]] bool tryPush(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    changed_.notifyAll();
    return true;
  }
  // Waits for a value; nothing when closed and empty.
  [[nodiscard]] Task<std::optional<T>> pop() {
    while (items_.empty()) {
      if (closed_) co_return std::nullopt;
      co_await changed_.waitUntil(Deadline::never());
    }
    co_return take();
  }
  [[nodiscard]] std::optional<T> tryPop() {
    if (items_.empty()) return std::nullopt;
    return take();
  }
  void close() {
    closed_ = true;
    changed_.notifyAll();
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::size_t size() const { return items_.size(); }

 private:
  std::optional<T> take() {
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    changed_.notifyAll();
    return value;
  }

  std::size_t capacity_;
  std::deque<T> items_;
  Event changed_;
  bool closed_ = false;
};

}  // namespace gs

#include "server/blueprints/byte_pipe.h"

#include <boost/asio/post.hpp>

namespace gs {

Task<bool> BytePipe::push(std::string piece) {
  const auto self = shared_from_this();
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (readerGone_ || finished_) co_return false;
      if (queued_ < capacity_) {
        queued_ += piece.size();
        pieces_.push_back(std::move(piece));
        arrived_.notify_one();
        co_return true;
      }
    }
    // The reader's wake-up is posted to this loop, so it cannot fall between the check and the wait.
    co_await space_.waitUntil(Deadline::never());
  }
}

void BytePipe::finish() {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  arrived_.notify_one();
}

void BytePipe::abort(Error error) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  error_ = std::move(error);
  arrived_.notify_one();
}

Result<std::string> BytePipe::read() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return !pieces_.empty() || finished_; });
  // An abort overtakes what is queued: nobody wants those bytes any more.
  if (error_) return fail(*error_);
  if (pieces_.empty()) return std::string();
  std::string piece = std::move(pieces_.front());
  pieces_.pop_front();
  const bool wasFull = queued_ >= capacity_;
  queued_ -= piece.size();
  const bool wake = wasFull && queued_ < capacity_;
  lock.unlock();
  if (wake) wakeWriter();
  return piece;
}

void BytePipe::closeReader() {
  {
    const std::lock_guard lock(mutex_);
    readerGone_ = true;
    pieces_.clear();
    queued_ = 0;
  }
  wakeWriter();
}

void BytePipe::wakeWriter() {
  asio::post(executor_, [self = shared_from_this()] { self->space_.notifyAll(); });
}

}  // namespace gs

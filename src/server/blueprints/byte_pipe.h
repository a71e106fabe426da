// A bounded queue of byte pieces from the loop to one thread that may block on it.
//
// The loop side pushes and never blocks the thread of the loop; the thread side reads and never touches the loop. Either
// side can end it: finish() and abort() by the writer, closeReader() by the reader, so that neither waits for a side that
// is gone. Shared by both through a shared_ptr. push() is for one task.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include "async/event.h"
#include "base/result.h"

namespace gs {

class BytePipe : public std::enable_shared_from_this<BytePipe> {
 public:
  BytePipe(const Executor& executor, std::size_t capacityBytes) : executor_(executor), space_(executor), capacity_(capacityBytes) {}

  // Loop. Waits while full; false when the reader is gone.
  [[nodiscard]] Task<bool> push(std::string piece);
  // Loop. No more comes. Repeat, also of another kind: the first counts.
  void finish();
  void abort(Error error);

  // Thread. The next piece; empty at the end; the error that abort() was given.
  [[nodiscard]] Result<std::string> read();
  // Thread. What was pushed and not read is dropped.
  void closeReader();

 private:
  void wakeWriter();

  Executor executor_;
  Event space_;
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::string> pieces_;
  std::size_t queued_ = 0;
  bool finished_ = false;
  bool readerGone_ = false;
  std::optional<Error> error_;
};

}  // namespace gs

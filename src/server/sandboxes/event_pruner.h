// Keeps the log of what happened to sandboxes from growing for ever: once a minute the oldest beyond the limits go.
//
// In small batches, so that nobody's write waits long behind it. Loop thread only; the store must outlive it. stop()
// before destruction. Restart: nothing is remembered; the next minute finds the same work.
#pragma once

#include "async/task_group.h"
#include "server/store/store.h"

namespace gs {

class EventPruner {
 public:
  EventPruner(const Executor& executor, Store& store, SandboxEventLimits limits);
  void begin();  // once
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> run();

  Store& store_;
  SandboxEventLimits limits_;
  TaskGroup tasks_;
};

}  // namespace gs

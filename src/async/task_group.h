// Owns running tasks: whoever spawns, cancels and joins.
//
// Loop thread only. Destroying a group that still runs tasks is a bug and aborts: call cancelAndJoin() first. A task
// that ends with an exception other than cancellation is logged as `task_failed` and does not take others down.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "async/task.h"

namespace gs {

class TaskGroup {
 public:
  explicit TaskGroup(Executor executor);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts the task soon (never inside this call). After cancelAndJoin() began, new tasks are dropped unstarted.
  void spawn(std::string name, Task<void> task);
  // Cancels every task and waits until all have ended. Repeat: returns when all have ended. Not from inside the group.
  [[nodiscard]] Task<void> cancelAndJoin();
  // Waits until no task is running, without cancelling.
  [[nodiscard]] Task<void> join();
  // Requests cancellation without waiting.
  void cancel();
  [[nodiscard]] std::size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace gs

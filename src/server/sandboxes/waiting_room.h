// Sandboxes that wait for a host: placed, oldest first, as soon as one fits.
//
// Looks at them when something changed (a host came, its facts changed, a sandbox went, an operator uncordoned) and every
// few seconds, for what nothing tells (a rest that is over). One round at a time, and rounds leave the store time for
// others. Placement itself is the store's transaction, so nothing is promised twice and a crash loses nothing. A large
// one that finds no room does not hold up smaller ones behind it. Loop thread only; what it is given must outlive it.
// stop() before destruction. Restart: who waits is in the store.
#pragma once

#include "async/task_group.h"
#include "server/sandboxes/sandbox_service.h"

namespace gs {

class WaitingRoom {
 public:
  WaitingRoom(const Executor& executor, Store& store, SandboxService& sandboxes, SandboxEvents& wakeUp);
  void begin();  // once
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> run();
  [[nodiscard]] Task<void> round();

  Store& store_;
  SandboxService& sandboxes_;
  SandboxEvents& wakeUp_;
  TaskGroup tasks_;
};

}  // namespace gs

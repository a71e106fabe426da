// Acts on the deadlines of sandboxes: deletes what has expired, stops what nobody uses.
//
// The deadlines are in the database, so a restart forgets none; each is acted on in the transaction that finds it, so none
// is acted on twice. It looks when the next one is due, and at least twice a minute, because clocks jump and because what
// is in use is noted as active then: a crash of the server takes that much of a session for idle at most. Loop thread
// only; service and clock must outlive it. stop() before destruction.
#pragma once

#include <functional>

#include "async/task_group.h"
#include "server/sandboxes/sandbox_service.h"

namespace gs {

class DeadlineKeeper {
 public:
  // `inUse`: the sandboxes that have a session now.
  using InUse = std::function<std::vector<SandboxId>()>;
  DeadlineKeeper(const Executor& executor, SandboxService& sandboxes, const Clock& clock, InUse inUse);
  void begin();  // once
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> run();

  SandboxService& sandboxes_;
  const Clock& clock_;
  InUse inUse_;
  TaskGroup tasks_;
};

}  // namespace gs

// Tells waiters on this loop that a sandbox's record changed. Loop thread only; carries no state of its own.
#pragma once

#include "async/event.h"
#include "base/ids.h"

namespace gs {

class SandboxEvents {
 public:
  explicit SandboxEvents(const Executor& executor) : changed_(executor) {}
  void notify(const SandboxId&) { changed_.notifyAll(); }
  // Returns at any change or at the deadline; the caller reads the record again.
  [[nodiscard]] Task<void> wait(Deadline deadline) { return changed_.waitUntil(deadline); }

 private:
  Event changed_;
};

}  // namespace gs

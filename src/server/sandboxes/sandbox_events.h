// Tells waiters on this loop that a sandbox's record changed. Loop thread only; carries no state but a count.
#pragma once

#include "async/event.h"
#include "base/ids.h"

namespace gs {

class SandboxEvents {
 public:
  explicit SandboxEvents(const Executor& executor) : changed_(executor) {}
  void notify(const SandboxId&) {
    ++changes_;
    changed_.notifyAll();
  }
  // Grows with each notify(): whoever remembers it knows whether waiting again is all there is to do.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  // Returns at any change or at the deadline; the caller reads the record again.
  [[nodiscard]] Task<void> wait(Deadline deadline) { return changed_.waitUntil(deadline); }

 private:
  std::uint64_t changes_ = 0;
  Event changed_;
};

}  // namespace gs

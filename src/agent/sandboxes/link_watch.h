// Keeps LinkOutage true while links come and go, and tells the sandboxes that mind.
//
// A link counts once it has lasted: until then the control plane may still have a newer wish for what was stopped. That
// it counts is written until the disk takes it, because an agent that dies would otherwise take the
// time of that link for a part of the outage. Loop thread only; what it is given must outlive it. stop() before
// destruction.
#pragma once

#include <functional>

#include "agent/sandboxes/link_outage.h"
#include "async/task_group.h"

namespace gs {

class LinkWatch {
 public:
  // As Supervisor::mindsTheLink and Supervisor::linkChanged.
  struct Sandboxes {
    std::function<bool()> mindTheLink;
    std::function<void()> linkChanged;
  };
  LinkWatch(const Executor& executor, Journal& journal, const Clock& clock, std::string bootId, Sandboxes sandboxes)
      : outage_(journal, clock, std::move(bootId)), sandboxes_(std::move(sandboxes)), tasks_(executor) {}

  // Once, before the supervisor's. Errors as LinkOutage::recover.
  [[nodiscard]] Task<Status> recover() { return outage_.recover(); }
  void begin();  // once, after the supervisor's recover()
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

  void linkUp();
  void linkDown();  // after each linkUp() once
  // As LinkOutage: for SandboxParts::linkDownFor.
  [[nodiscard]] std::optional<Millis> downFor() const { return outage_.downFor(); }

 private:
  [[nodiscard]] Task<void> settle(std::uint64_t link);
  [[nodiscard]] Task<void> watch();
  [[nodiscard]] Task<void> rememberOnce();
  [[nodiscard]] Task<Status> remember();

  LinkOutage outage_;
  Sandboxes sandboxes_;
  std::uint64_t links_ = 0;  // so far
  bool up_ = false;
  TaskGroup tasks_;
};

}  // namespace gs

// Sandboxes that wait for a host: placed, oldest first, as soon as one fits.
//
// Looks at them when something changed (a host came, its facts changed, a sandbox went, an operator uncordoned) and every
// few seconds, for what nothing tells (a rest that is over). One round at a time, and rounds leave the store time for
// others. Placement itself is the store's transaction, so nothing is promised twice and a crash loses nothing. A large
// one that finds no room does not hold up smaller ones behind it. Loop thread only; what it is given must outlive it.
// stop() before destruction. Restart: who waits is in the store.
//
// A database from a backup may show a sandbox as waiting that has a host by now. So one from before this start waits until
// every host of its cluster has told what it holds (a host that has it claims it, core/claim.h), though no longer than
// WaitingRoomSettings::awaitHosts: a host may be gone for good.
#pragma once

#include "async/task_group.h"
#include "server/gateway/host_reports.h"
#include "server/sandboxes/sandbox_service.h"

namespace gs {

struct WaitingRoomSettings {
  // An agent that can reach the server dials within 30 s.
  Seconds awaitHosts{45};  // 0: nobody is waited for
};

class WaitingRoom {
 public:
  WaitingRoom(const Executor& executor, Store& store, SandboxService& sandboxes, SandboxEvents& wakeUp, const HostReports& reports,
              const Clock& clock, WaitingRoomSettings settings = {});
  void begin();  // once
  [[nodiscard]] std::uint64_t rounds() const { return rounds_; }  // done since the start
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> run();
  [[nodiscard]] Task<void> round();

  // Whether any host of the cluster may hold it without our knowing.
  [[nodiscard]] Task<bool> mayBeElsewhere(const SandboxRecord& sandbox, std::map<ClusterId, bool>& known);

  Store& store_;
  SandboxService& sandboxes_;
  SandboxEvents& wakeUp_;
  const HostReports& reports_;
  const Clock& clock_;
  WaitingRoomSettings settings_;
  WallTime beganAt_{};
  SteadyTime awaitUntil_{};
  std::uint64_t rounds_ = 0;
  TaskGroup tasks_;
};

}  // namespace gs

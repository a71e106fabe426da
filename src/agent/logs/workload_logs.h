// The logs of this host's sandboxes: takes what guests keep into files, and opens them for readers.
//
// One folder a sandbox below AgentPaths::logsDir(). It stays when the sandbox stops and when it gets a fresh root file
// system, and goes when it is deleted here. Loop thread only, files on the pool. Restart: each folder says up to where its
// run was taken, and the guest is asked from there: nothing is lost or doubled as long as the guest could keep it. A disk
// that is full, or a reserve that is touched (`checkRoom`), leaves the output with the guest, which forgets the oldest.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "agent/core/agent_paths.h"
#include "agent/guest_channel/guest_channel.h"
#include "agent/logs/log_reader.h"
#include "agent/logs/log_writer.h"
#include "async/blocking_pool.h"
#include "async/event.h"

namespace gs {

class WorkloadLogs {
 public:
  WorkloadLogs(Executor executor, AgentPaths paths, LogLimits limits, BlockingPool& pool, std::function<Status()> checkRoom)
      : paths_(std::move(paths)), limits_(limits), pool_(pool), checkRoom_(std::move(checkRoom)), changed_(executor) {}

  // Takes what this guest's workload writes, until the channel is closed. One at a time for a sandbox.
  [[nodiscard]] Task<void> collect(SandboxId id, GuestChannel& channel);
  // Waits until everything that the channel's guest had of the workload when it ended is in the files; or until then.
  [[nodiscard]] Task<void> drained(SandboxId id, GuestChannel& channel, Deadline deadline);
  // Removes all of it. Unknown: success.
  [[nodiscard]] Task<Status> discard(SandboxId id);

  // Counts up with whatever is written or removed; for readers that wait.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] Task<void> waitChange(Deadline deadline) { return changed_.waitUntil(deadline); }
  [[nodiscard]] std::string folder(const SandboxId& id) const { return paths_.logsDir() + "/" + id.text(); }
  [[nodiscard]] BlockingPool& pool() { return pool_; }

 private:
  using Writer = std::shared_ptr<LogWriter>;
  [[nodiscard]] Task<Result<Writer>> open(SandboxId id);
  [[nodiscard]] Task<Status> write(Writer writer, OutputChunk chunk);
  void changed();

  AgentPaths paths_;
  LogLimits limits_;
  BlockingPool& pool_;
  std::function<Status()> checkRoom_;
  Event changed_;
  std::uint64_t changes_ = 0;
  SteadyTime roomCheckAt_{};
  std::map<SandboxId, LogPosition> taken_;  // of those that are collected now
};

}  // namespace gs

// What runs sandboxes on this host, as the supervisor sees it: one interface that each runtime implements and one
// conformance suite checks.
//
// It works on one container (or machine) for one sandbox, under a name and labels that follow from the sandbox's id
// alone. It keeps no memory of its own: what exists is asked of the runtime each time, so there is nothing to recover
// after a restart. It does NOT journal, retry, decide or pull images: the supervisor journals each intent before it
// calls, and passes crash points around the calls; the blueprint cache makes images local.
//
// For every method:
//   Repeat     Safe. Each method says what the second call finds. The same call from two tasks at once is safe too.
//   Unknown    `kNotFound` or an empty answer mean that the runtime ANSWERED and has no such container: a positive
//              observation. Not being answered is never that.
//   No answer  kUnavailable (reason "docker_unreachable" and the like), kDeadlineExceeded: says nothing about the
//              container. The effect may or may not have happened; repeat, or inspect. Unknown is not dead.
//   Foreign    A container that has our name but not our labels is never touched: kFailedPrecondition, reason
//              "container_foreign".
//   Cancel     Allowed at every point; the effect may or may not have happened. Nothing is rolled back, because the
//              repeat completes it.
//   Other      kInternal: the runtime refused for a reason that is its own (its text is in the message, escaped).
//              kResourceExhausted: the host is out of disk or memory.
// Threads: loop thread only. Lifetime: the runtime outlives its calls; a RuntimeWatch may not outlive its runtime.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/runtimes/cache_handle.h"
#include "async/deadline.h"
#include "wire/host_types.h"
#include "wire/sandbox_types.h"

namespace gs {

// Host paths that every sandbox gets, read-only.
struct MountPlan {
  std::string guestBinary;  // becomes /.gstacks/guest, the first process
  std::string runDir;       // becomes /.gstacks/run; the agent listens on agent.sock in it
};

// What a process gets whose caller says neither. Empty: root, and the root folder.
struct ExecDefaults {
  std::string user;
  std::string workingDir;
  friend bool operator==(const ExecDefaults&, const ExecDefaults&) = default;
};

// All that create() needs to know. The limits of spec.resources are enforced by the runtime, not by the guest.
struct ContainerPlan {
  SandboxId sandboxId;
  HostId hostId;
  std::uint64_t generation = 0;  // of the assignment for which it is created; stays on the container as a label
  SandboxSpec spec;
  CacheHandle image;
  MountPlan mounts;

  [[nodiscard]] ExecDefaults execDefaults() const {
    return {spec.user.empty() ? image.image.user : spec.user,
            spec.workingDir.empty() ? image.image.workingDir : spec.workingDir};
  }
};

enum class ContainerPhase : std::uint8_t {
  kCreated,  // never started
  kRunning,
  kPaused,    // frozen by somebody else; its processes exist
  kExited,    // its first process has ended
  kRemoving,  // being deleted, or a deletion failed half way: cannot start any more; remove() finishes it
};
[[nodiscard]] std::string_view containerPhaseName(ContainerPhase phase);  // "running"

// One container as the runtime described it at one moment.
struct RuntimeContainer {
  SandboxId sandboxId;
  HostId hostId;
  std::uint64_t generation = 0;  // the one that it was created for
  std::string nativeId;          // docker: the 64-digit container id
  ContainerPhase phase = ContainerPhase::kCreated;
  int pid = 0;       // of its first process in the host's pid namespace; 0 unless running or paused
  int exitCode = 0;  // kExited only: as the runtime gives it, 128 + n for signal n
  bool oomKilled = false;
  std::optional<WallTime> startedAt;   // the present or last run
  std::optional<WallTime> finishedAt;  // the last run
  // From the plan that it was created by, so that an agent without memory need not ask for the image.
  std::optional<ExecDefaults> execDefaults;
  // From list() only: when it was created, the guest program on the host that it has mounted, its blueprint's manifest.
  std::optional<WallTime> createdAt;
  std::string guestBinary;
  std::string manifest;  // sha256:…, as its label says

  [[nodiscard]] bool alive() const { return phase == ContainerPhase::kRunning || phase == ContainerPhase::kPaused; }
};

// The runtime's row in the host's facts, and what an operator of the host should know or do.
struct RuntimeReport {
  RuntimeHealth health;
  std::vector<HostCondition> conditions;  // e.g. code "docker_live_restore_off"
};

// What taking a layer costs.
struct LayerMeasure {
  std::uint64_t changedBytes = 0;   // of the layer itself, about
  std::uint64_t scratchBytes = 0;   // that the runtime needs for a while, besides
  std::string scratchFolder;        // on whose disk it needs them
};

// Takes the bytes of a layer in order.
class LayerSink {
 public:
  virtual ~LayerSink() = default;
  // An error ends the giving, and comes back from it.
  [[nodiscard]] virtual Task<Status> write(std::string bytes) = 0;
};

// Wakes its owner when a container of this host starts or ends, so that nobody polls.
class RuntimeWatch {
 public:
  virtual ~RuntimeWatch() = default;
  // A sandbox whose container changed: inspect it. A hint, not a fact: it may be late or doubled. kUnavailable: the
  // stream broke; changes may have been missed, so watch() again and then list(). Cancel: the watch is unusable.
  [[nodiscard]] virtual Task<Result<SandboxId>> next() = 0;
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  // "docker": what SandboxSpec::runtime and RuntimeHealth::name say.
  [[nodiscard]] virtual std::string_view name() const = 0;

  // Which life of the runtime's own process serves us, as an opaque text: another after it was restarted, when it may have
  // ended what ran in it; not another while it merely hangs. Answers at once, without asking the runtime. Empty: that
  // cannot be told on this host. kUnavailable: nobody is there.
  [[nodiscard]] virtual Result<std::string> instance() const = 0;

  // How the runtime fares. Never fails: not answering is kUnhealthy with the reason and a condition that says what to
  // do, not installed is kAbsent. Changes nothing.
  [[nodiscard]] virtual Task<RuntimeReport> health(Deadline deadline) = 0;

  // Creates the container, not started. Repeat: an existing container of this sandbox, host and generation is success,
  // whatever its phase. Another generation's or host's container is there: kAborted (reason "generation_differs" or
  // "host_differs"), nothing touched; inspect, and remove it if it is to be replaced. The image is not there any more:
  // kFailedPrecondition, reason "blueprint_missing"; ask the blueprint cache again. A limit that this host cannot
  // give (more CPUs than it has): kInvalidArgument with the runtime's own sentence.
  [[nodiscard]] virtual Task<Status> create(ContainerPlan plan, Deadline deadline) = 0;

  // Starts it. Repeat, already running: success. Exited before: runs again, the same container with its files.
  // Unknown: kNotFound. The first process cannot be executed: kFailedPrecondition, reason "start_refused"; frozen by
  // somebody else: the same code, reason "container_paused".
  [[nodiscard]] virtual Task<Status> start(SandboxId id, Deadline deadline) = 0;

  // Ends it: SIGTERM to the first process, SIGKILL after `grace` (at once when zero), and waits until it has ended.
  // Repeat, not running: success. Unknown: kNotFound. Let the deadline exceed the grace. Cancel: SIGTERM may have
  // been sent; the repeat sends it again. A process that does not die on SIGKILL (stuck in the kernel):
  // kDeadlineExceeded, and the container is still there.
  [[nodiscard]] virtual Task<Status> stop(SandboxId id, Millis grace, Deadline deadline) = 0;

  // Deletes it with its anonymous volumes, killing it when it runs; waits until it is gone. Repeat, unknown: success.
  [[nodiscard]] virtual Task<Status> remove(SandboxId id, Deadline deadline) = 0;

  // How much takeLayer() will give and need. Unknown: kNotFound. A runtime that cannot give layers: kUnimplemented.
  [[nodiscard]] virtual Task<Result<LayerMeasure>> measureLayer(SandboxId id, Deadline deadline);

  // Gives what the container's file system has beyond its image, as one uncompressed OCI layer (deletions as whiteouts);
  // nothing at all when nothing was changed. The container does not run: kFailedPrecondition, reason
  // "container_running". Repeat: the same bytes, as long as the generation is the same and it has not run in between.
  // Temporary things stay until dropLayers(). Unknown: kNotFound. What belongs to the sandbox and is not in its root file
  // system (volumes that its image declares): kFailedPrecondition, reason "sandbox_has_volumes". Bytes that are not what
  // the runtime says they are: kDataLoss. The sink's error otherwise.
  [[nodiscard]] virtual Task<Status> takeLayer(SandboxId id, std::uint64_t generation, LayerSink& sink, Deadline deadline);

  // Removes what takeLayer() made, for all generations, also what a lost call made. Repeat, unknown: success.
  [[nodiscard]] virtual Task<Status> dropLayers(SandboxId id, Deadline deadline);

  // What the runtime says of it; nothing when it answered that there is no such container.
  [[nodiscard]] virtual Task<Result<std::optional<RuntimeContainer>>> inspect(SandboxId id, Deadline deadline) = 0;

  // Every container of this host's sandboxes, in any phase. Unlike inspect() it leaves pid, exitCode, oomKilled and the
  // times unset: the runtime's list does not have them. One that bears our labels by accident (an image may carry
  // labels of its own) is left out and logged. All or nothing: a partial list is an error.
  [[nodiscard]] virtual Task<Result<std::vector<RuntimeContainer>>> list(HostId host, Deadline deadline) = 0;

  // Starts to listen for changes; those after this call's return are reported. The deadline is for the opening only.
  [[nodiscard]] virtual Task<Result<std::unique_ptr<RuntimeWatch>>> watch(HostId host, Deadline deadline) = 0;
};

}  // namespace gs

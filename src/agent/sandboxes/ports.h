// What the supervisor needs of the rest of the agent, as interfaces: it sees no concrete runtime, cache, guest or link.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/core/agent_paths.h"
#include "agent/core/deletion_fence.h"
#include "agent/guest_channel/guest_channel.h"
#include "agent/runtimes/runtime.h"
#include "agent/sandboxes/journal.h"
#include "base/clock.h"

namespace gs {

// Makes a blueprint local; BlueprintCache::ensureLocal says what it returns and fails with.
class BlueprintProvider {
 public:
  virtual ~BlueprintProvider() = default;
  [[nodiscard]] virtual Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline deadline) = 0;
};

// Brings what a sandbox wrote since its blueprint to the control plane; LayerArchiver says what each call does and fails
// with.
class SandboxArchiver {
 public:
  virtual ~SandboxArchiver() = default;
  [[nodiscard]] virtual Task<Status> takeLayer(SandboxId id, std::uint64_t generation, Deadline deadline) = 0;
  [[nodiscard]] virtual Task<Status> sendLayer(SandboxId id, std::uint64_t generation, Deadline deadline) = 0;
  [[nodiscard]] virtual Task<Status> discardLayer(SandboxId id, Deadline deadline) = 0;
};

// Keeps what workloads write (agent/logs).
class OutputKeeper {
 public:
  virtual ~OutputKeeper() = default;
  // Takes it from this guest, until the channel is closed.
  [[nodiscard]] virtual Task<void> collect(SandboxId id, GuestChannel& channel) = 0;
  // Waits until everything is taken that the guest had when the workload ended; no longer than to the deadline.
  [[nodiscard]] virtual Task<void> drained(SandboxId id, GuestChannel& channel, Deadline deadline) = 0;
  // Removes what was kept. Repeat, unknown: success.
  [[nodiscard]] virtual Task<Status> discardOutput(SandboxId id) = 0;
};

// Opens the socket that the sandbox's guest will dial; makes its folder.
using GuestChannelFactory = std::function<Result<std::unique_ptr<GuestChannel>>(const SandboxId&)>;

// Called when there is something new to tell the control plane. The observation is already on disk.
using ObservationSink = std::function<void(const Observation&)>;

struct SandboxParts {
  Executor executor;
  Journal& journal;
  Runtime& runtime;
  BlueprintProvider& blueprints;
  GuestChannelFactory openGuestChannel;
  const Clock& clock;
  AgentPaths paths;
  HostId hostId;
  std::string bootId;
  std::string guestBinary;
  // Asked before each creation of a container: kResourceExhausted, reason "disk_full", when the host has no room for one
  // more (rule 12). Nothing: there always is.
  std::function<Status()> checkRoom{};
  DeletionFenceLimits fence{};
  // None: sandboxes of this agent cannot be archived.
  SandboxArchiver* archiver = nullptr;
  // For how long the control plane has been out of reach; nothing: it is not. Empty: it never is.
  std::function<std::optional<Millis>()> linkDownFor{};
  // None: what workloads write is forgotten.
  OutputKeeper* output = nullptr;
};

}  // namespace gs

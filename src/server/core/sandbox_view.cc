#include "server/core/sandbox_view.h"

namespace gs {
namespace {

// For agents and moments that give none: the contract promises a reason whenever state and wish differ.
std::string_view reasonFor(SandboxState state, DesiredState desired) {
  switch (state) {
    case SandboxState::kRequested:
    case SandboxState::kPlacing: return "pending_placement";
    case SandboxState::kProvisioning:
    case SandboxState::kStarting: return "provisioning";
    case SandboxState::kRunning: return desired == DesiredState::kArchived ? "archive_requested" : "stop_requested";
    case SandboxState::kStopped:
      if (desired == DesiredState::kArchived) return "archiving";
      return desired == DesiredState::kStopped ? "stopped_by_user" : "workload_exited";
    case SandboxState::kUnknown: return "runtime_unavailable";
    case SandboxState::kDeleting:
    case SandboxState::kDeleted: return "deletion_requested";
    case SandboxState::kArchived:
    case SandboxState::kFailed: return "runtime_error";
  }
  return "runtime_error";
}

bool isAsDesired(SandboxState state, DesiredState desired) {
  return (state == SandboxState::kRunning && desired == DesiredState::kRunning) ||
         (state == SandboxState::kStopped && desired == DesiredState::kStopped) ||
         (state == SandboxState::kArchived && desired == DesiredState::kArchived) ||
         (state == SandboxState::kDeleted && desired == DesiredState::kDeleted);
}

void showDeleting(SandboxRecord& record, const HostHearing& host) {
  // What the host says about the deletion itself (a runtime that does not answer) is worth keeping; what it said about
  // the life before is not.
  const bool aboutDeletion = isCurrent(record) && !record.reason.empty();
  record.state = SandboxState::kDeleting;
  if (host.state == HostState::kDisconnected) {
    record.reason = "host_disconnected";
    record.message = fmt::format("host {} cannot be heard; the sandbox is deleted when it comes back", host.name);
  } else if (!aboutDeletion) {
    record.reason = record.desiredBy == kTtlActor ? "expired" : "deletion_requested";
    record.message.clear();
  }
}

// It runs as wished, and not in the fresh root file system that was wished besides.
bool isAboutFreshRoot(const SandboxRecord& record) {
  return isCurrent(record) && (record.reason == kDeletionHeld || record.reason == kDeletionRejected);
}

std::string whatRunsThere(const SandboxRecord& record) {
  const auto after = record.spec.stopAfterDisconnect.count();
  return after == 0 ? std::string("what runs there runs on") : fmt::format("it is stopped there when it cannot reach us for {} s", after);
}

void showUnknown(SandboxRecord& record, const HostHearing& host) {
  record.state = SandboxState::kUnknown;
  record.reason = "host_disconnected";
  record.message = host.lastSeenAt
                       ? fmt::format("host {} was last heard at {}; {}", host.name, formatTime(*host.lastSeenAt), whatRunsThere(record))
                       : fmt::format("host {} was never heard", host.name);
}

}  // namespace

bool deletionWasRejected(const SandboxRecord& record) {
  return record.desired == DesiredState::kDeleted && isCurrent(record) && record.reason == kDeletionRejected;
}

void showToClients(SandboxRecord& record, const HostHearing& host) {
  if (record.desired == DesiredState::kDeleted) {
    showDeleting(record, host);
  } else if (host.state == HostState::kDisconnected) {
    showUnknown(record, host);
  }
  // The host was told to stop it and does not know for whom.
  if (record.state == SandboxState::kStopped && record.reason == "stopped_by_user" && record.desiredBy == kIdleActor) {
    record.reason = "idle_stopped";
    record.message = fmt::format("no session was open for {} s", record.idleStop.count());
  }
  if (!isAsDesired(record.state, record.desired)) {
    if (record.reason.empty()) record.reason = reasonFor(record.state, record.desired);
  } else if (record.state == SandboxState::kRunning && !isAboutFreshRoot(record)) {
    record.reason.clear();
    record.message.clear();
  }
}

Assignment assignmentOf(const SandboxRecord& record) {
  Assignment out;
  out.sandboxId = record.id;
  out.generation = static_cast<std::uint64_t>(record.generation);
  out.desired = record.desired;
  out.spec = record.spec;
  out.stopGrace = record.stopGrace;
  out.rootGeneration = static_cast<std::uint64_t>(record.rootGeneration);
  return out;
}

Assignment assignmentWithMemory(const SandboxRecord& record) {
  Assignment out = assignmentOf(record);
  // What is told of one that is placed anew is of its life before, perhaps on another host.
  if (record.sequence == 0 || !isObservable(record.state)) return out;
  Observation known;
  known.sandboxId = record.id;
  known.generation = static_cast<std::uint64_t>(record.observedGeneration);
  known.sequence = static_cast<std::uint64_t>(record.sequence);
  known.state = record.state;
  known.reason = record.reason;
  known.message = record.message;
  known.exit = record.exit;
  known.observedAt = record.updatedAt;
  known.startedAt = record.startedAt;
  known.restarts = static_cast<std::uint32_t>(record.restarts);
  out.known = std::move(known);
  return out;
}

bool endedByItself(const SandboxRecord& observed) {
  return isCurrent(observed) && (observed.state == SandboxState::kFailed || observed.state == SandboxState::kStopped);
}

}  // namespace gs

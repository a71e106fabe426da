// One change of a sandbox that a client can see, as the log keeps it: what happened, who did it, how it was then.
//
// Events outlive their sandbox. Their sequence counts over all tenants and is never used twice, so that a client can say
// what it has seen and go on from there. Pure values; the store writes each in the transaction of the change itself.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/core/records.h"

namespace gs {

enum class SandboxEventKind : std::uint8_t {
  kCreated,
  kPlaced,  // it waited for a host and has got one
  kStartRequested,
  kStopRequested,
  kDeleteRequested,
  kArchiveRequested,
  kReprovisionRequested,
  kRestoreRequested,
  kArchived,  // all of it is here, and its host is free
  kObserved,          // its host said something new
  kRefused,           // its host will not have it
  kHostDisconnected,  // nothing is known of it now
  kHostConnected,
  kHostRemoved,
  kDeleted,  // the last one
  kAdopted,    // its host held it, and it had no record
  kRecovered,  // its host knew a later wish than the record, which came from a backup
};
[[nodiscard]] std::string_view sandboxEventKindName(SandboxEventKind kind);  // "stop_requested"
[[nodiscard]] Result<SandboxEventKind> parseSandboxEventKind(std::string_view name);
[[nodiscard]] SandboxEventKind wishEventKind(DesiredState desired);

// State, reason and message are as a client saw them then (see sandbox_view.h).
struct SandboxEventRecord {
  std::int64_t sequence = 0;
  TenantId tenantId;
  SandboxId sandboxId;
  std::string name;
  HostId hostId;  // empty: it had none
  WallTime at{};
  SandboxEventKind kind = SandboxEventKind::kObserved;
  std::string actor;  // as in the audit log
  DesiredState desired = DesiredState::kRunning;
  SandboxState state = SandboxState::kRequested;
  std::string reason;
  std::string message;
  std::optional<ExitInfo> exit;
  std::string exitBy;
  std::int64_t generation = 0;
  std::int64_t observedGeneration = 0;
  std::int64_t restarts = 0;
};

// What a reader of the log asks for: what came after a position, oldest first.
struct SandboxEventQuery {
  std::optional<SandboxId> sandbox{};  // none: all of the tenant
  std::int64_t after = 0;
  std::int64_t limit = 50;
};
struct SandboxEventSlice {
  std::vector<SandboxEventRecord> items;
  std::int64_t prunedThrough = 0;  // what the tenant had up to here is no longer kept; 0: all is there
  std::int64_t head = 0;           // of the whole log: no event has a greater sequence
};

// How long events are kept, whichever is over first.
struct SandboxEventLimits {
  Seconds age = std::chrono::hours(24 * 30);
  std::int64_t perTenant = 100'000;
};

// Whether a client sees any difference between the two: what one of them is an event for.
[[nodiscard]] bool looksDifferent(const SandboxRecord& before, const SandboxRecord& after);

}  // namespace gs

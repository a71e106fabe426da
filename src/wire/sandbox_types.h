// Assignments and observations as plain values. Mirrors proto/globalstacks/agent/v1/sandbox.proto, which says what each
// field means and what orders what.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/ids.h"

namespace gs {

enum class DesiredState : std::uint8_t { kRunning, kStopped, kDeleted, kArchived };

// The states of design §4. The first three and kArchived exist in the control plane only.
enum class SandboxState : std::uint8_t {
  kRequested,
  kPlacing,
  kProvisioning,
  kStarting,
  kRunning,
  kStopped,
  kArchived,
  kFailed,
  kDeleting,
  kDeleted,
  kUnknown,
};

[[nodiscard]] std::string_view desiredStateName(DesiredState state);  // "running"
[[nodiscard]] std::string_view sandboxStateName(SandboxState state);  // "provisioning"
[[nodiscard]] Result<DesiredState> parseDesiredState(std::string_view name);
[[nodiscard]] Result<SandboxState> parseSandboxState(std::string_view name);
// Whether a host can have said it; the others are states of the control plane alone, and no message can carry them.
[[nodiscard]] bool isObservable(SandboxState state);

// Reasons that both ends know: what goes on as it was, though its destruction, or a fresh root file system, is wished. The
// wish waits for somebody's confirmation; somebody refused it.
inline constexpr std::string_view kDeletionHeld = "deletion_held";
inline constexpr std::string_view kDeletionRejected = "deletion_rejected";

struct Resources {
  std::uint32_t cpuMillis = 1000;
  std::uint64_t memoryBytes = 512ULL << 20;
  std::uint32_t pids = 512;
  friend bool operator==(const Resources&, const Resources&) = default;
};

enum class RestartMode : std::uint8_t { kNever, kOnFailure, kAlways };
[[nodiscard]] std::string_view restartModeName(RestartMode mode);  // "on_failure"
[[nodiscard]] Result<RestartMode> parseRestartMode(std::string_view name);

struct RestartPolicy {
  RestartMode mode = RestartMode::kNever;
  std::uint32_t maxRestarts = 0;  // in one generation; 0: no limit
  friend bool operator==(const RestartPolicy&, const RestartPolicy&) = default;
};

struct SandboxSpec {
  std::string name;
  std::string runtime = "docker";
  Digest manifest;
  std::string blueprintName;  // for messages only
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> env;
  std::string workingDir;
  std::string user;
  Resources resources;
  RestartPolicy restart;
  Seconds stopAfterDisconnect{0};  // 0: keep
  friend bool operator==(const SandboxSpec&, const SandboxSpec&) = default;
};

enum class ExitCause : std::uint8_t {
  kUnspecified,
  kExited,
  kOutOfMemory,
  kStopped,
  kDisconnected,
  kHostRestarted,
  kRuntimeLost,
  kKilled,
  kHostLost,  // its host was removed; in the control plane only, never on the wire
};
[[nodiscard]] std::string_view exitCauseName(ExitCause cause);  // "oom_killed"; kUnspecified: empty
[[nodiscard]] ExitCause parseExitCause(std::string_view name);  // unknown: kUnspecified

struct ExitInfo {
  int code = 0;
  int signal = 0;
  bool oomKilled = false;
  WallTime at{};
  ExitCause cause = ExitCause::kUnspecified;
  friend bool operator==(const ExitInfo&, const ExitInfo&) = default;
};

struct Observation {
  SandboxId sandboxId;
  std::uint64_t generation = 0;
  std::uint64_t sequence = 0;
  SandboxState state = SandboxState::kUnknown;
  std::string reason;
  std::string message;
  std::optional<ExitInfo> exit;
  WallTime observedAt{};
  std::optional<WallTime> startedAt;
  std::uint32_t restarts = 0;
  friend bool operator==(const Observation&, const Observation&) = default;
};

struct Assignment {
  SandboxId sandboxId;
  std::uint64_t generation = 0;
  DesiredState desired = DesiredState::kRunning;
  SandboxSpec spec;
  Millis stopGrace{10'000};
  // The last observation that the control plane has; only towards a host that does not know the sandbox.
  std::optional<Observation> known;
  std::uint64_t rootGeneration = 0;
  friend bool operator==(const Assignment&, const Assignment&) = default;
};

struct AssignmentVersion {
  SandboxId sandboxId;
  std::uint64_t generation = 0;
  std::uint64_t sequence = 0;
  friend bool operator==(const AssignmentVersion&, const AssignmentVersion&) = default;
};

// Hello.assignments_digest: raw SHA-256 over "<id> <generation>\n", sorted by id. Order of the input does not matter.
[[nodiscard]] std::string assignmentsDigest(std::vector<AssignmentVersion> versions);

}  // namespace gs

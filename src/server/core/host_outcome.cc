#include "server/core/host_outcome.h"

namespace gs {

CreationOutcome creationOutcome(SandboxState state, std::string_view reason) {
  switch (state) {
    case SandboxState::kRunning: return CreationOutcome::kSucceeded;
    case SandboxState::kStopped:
      return reason == "workload_exited" ? CreationOutcome::kSucceeded : CreationOutcome::kNoVerdict;
    case SandboxState::kFailed: break;
    default: return CreationOutcome::kPending;
  }
  for (const std::string_view each : {"runtime_error", "guest_lost", "blueprint_unavailable", "blueprint_damaged"}) {
    if (reason == each) return CreationOutcome::kHostFailed;
  }
  for (const std::string_view each : {"workload_exited", "workload_start_failed", "oom_killed"}) {
    if (reason == each) return CreationOutcome::kSucceeded;
  }
  return CreationOutcome::kNoVerdict;
}

HostTrial judgeCreation(HostTrial trial, CreationOutcome outcome, WallTime placedAt, WallTime now) {
  if (outcome == CreationOutcome::kSucceeded) return {};
  if (outcome != CreationOutcome::kHostFailed) return trial;
  if (trial.restingSince && placedAt <= *trial.restingSince) return trial;
  trial.failures += 1;
  if (trial.failures < kFailuresToRest) return trial;
  Millis rest = kFirstRest;
  for (auto n = kFailuresToRest; n < trial.failures && rest < kLongestRest; ++n) rest *= 2;
  trial.restingSince = now;
  trial.restsUntil = now + std::min(rest, kLongestRest);
  return trial;
}

}  // namespace gs

#include "server/core/host_outcome.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

TEST(HostOutcome, TellsFailuresOfTheHostFromThoseOfTheWorkload) {
  using enum CreationOutcome;
  const struct {
    SandboxState state;
    const char* reason;
    CreationOutcome expected;
  } rows[] = {
      {SandboxState::kProvisioning, "blueprint_unavailable", kPending},
      {SandboxState::kStarting, "", kPending},
      {SandboxState::kUnknown, "guest_lost", kPending},
      {SandboxState::kRunning, "", kSucceeded},
      {SandboxState::kStopped, "workload_exited", kSucceeded},
      {SandboxState::kStopped, "stopped_by_user", kNoVerdict},
      {SandboxState::kFailed, "workload_exited", kSucceeded},
      {SandboxState::kFailed, "workload_start_failed", kSucceeded},
      {SandboxState::kFailed, "oom_killed", kSucceeded},
      {SandboxState::kFailed, "runtime_error", kHostFailed},
      {SandboxState::kFailed, "guest_lost", kHostFailed},
      {SandboxState::kFailed, "blueprint_unavailable", kHostFailed},
      {SandboxState::kFailed, "blueprint_damaged", kHostFailed},
      {SandboxState::kFailed, "spec_rejected", kNoVerdict},
      {SandboxState::kFailed, "disk_full", kNoVerdict},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(creationOutcome(row.state, row.reason), row.expected) << sandboxStateName(row.state) << " " << row.reason;
  }
}

TEST(HostOutcome, RestsLongerWithEachFailureAndForgetsAllAfterASuccess) {
  using enum CreationOutcome;
  WallTime now = FakeClock().wallNow();
  HostTrial trial;
  for (int n = 1; n < kFailuresToRest; ++n) {
    trial = judgeCreation(trial, kHostFailed, now, now);
    EXPECT_FALSE(trial.restsUntil) << n;
  }
  Millis expected = kFirstRest;
  for (int n = 0; n < 12; ++n) {
    now += kLongestRest;
    trial = judgeCreation(trial, kHostFailed, now - Millis(1), now);
    ASSERT_TRUE(trial.restsUntil);
    EXPECT_EQ(*trial.restsUntil - now, expected) << n;
    expected = std::min(2 * expected, kLongestRest);
  }
  EXPECT_EQ(judgeCreation(trial, kNoVerdict, now, now), trial);
  EXPECT_EQ(judgeCreation(trial, kSucceeded, now, now), HostTrial{});
}

TEST(HostOutcome, CountsABurstThatFailsTogetherOnce) {
  const WallTime now = FakeClock().wallNow();
  HostTrial trial;
  for (int n = 0; n < 50; ++n) trial = judgeCreation(trial, CreationOutcome::kHostFailed, now, now + Millis(n));
  EXPECT_EQ(trial.failures, kFailuresToRest);
  EXPECT_EQ(trial.restsUntil, now + Millis(kFailuresToRest - 1) + kFirstRest);
}

}  // namespace
}  // namespace gs

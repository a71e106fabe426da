#include "agent/core/sandbox_model_fixture.h"

namespace gs {
namespace {

using enum DesiredState;

struct Row {
  std::string why;
  DesiredState desired;
  std::uint64_t generation;
  std::uint64_t runGeneration;
  Intent intent;
  SandboxFacts facts;
  Step step;
  std::optional<SandboxState> says;
  std::string reason;
};

TEST(SandboxModel, DecidesEveryRowOfTheTable) {
  const auto none = std::optional<SandboxState>();
  const Row rows[] = {
      {"nothing is known yet: look first", kRunning, 1, 0, Intent::kNone, seen(Seen::kUnknown), Step::kInspect, none, ""},
      {"no container and no blueprint", kRunning, 1, 0, Intent::kNone, seen(Seen::kAbsent), Step::kPrepare,
       SandboxState::kProvisioning, "provisioning"},
      {"blueprint is local", kRunning, 1, 0, Intent::kNone, withBlueprint(seen(Seen::kAbsent)), Step::kCreate,
       SandboxState::kProvisioning, "provisioning"},
      {"created, perhaps by a call whose result was lost", kRunning, 1, 0, Intent::kCreate, seen(Seen::kCreated),
       Step::kStart, SandboxState::kStarting, ""},
      {"running behind the gate", kRunning, 1, 1, Intent::kNone, seen(Seen::kRunning), Step::kOpenGate,
       SandboxState::kStarting, ""},
      {"running, gate open", kRunning, 1, 1, Intent::kNone, withGate(seen(Seen::kRunning)), Step::kWait,
       SandboxState::kRunning, ""},
      {"the workload is over, the guest is not", kRunning, 1, 1, Intent::kNone,
       withWorkloadExit(withGate(seen(Seen::kRunning)), 0), Step::kStop, SandboxState::kStopped,
       "workload_exited"},
      {"the host was rebooted under a sandbox that wants to run", kRunning, 1, 1, Intent::kNone,
       withBoot(withContainerExit(seen(Seen::kExited), 137), "next"), Step::kStart, SandboxState::kStarting, "host_restarted"},
      {"ended well", kRunning, 1, 1, Intent::kNone, withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0),
       Step::kWait, SandboxState::kStopped, "workload_exited"},
      {"ended badly", kRunning, 1, 1, Intent::kNone, withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 3),
       Step::kWait, SandboxState::kFailed, "workload_exited"},
      {"ended by the memory limit", kRunning, 1, 1, Intent::kNone,
       withWorkloadExit(withContainerExit(seen(Seen::kExited), 137, true), 0, 9), Step::kWait, SandboxState::kFailed,
       "oom_killed"},
      {"ended badly, after the kernel had killed something else in it", kRunning, 1, 1, Intent::kNone,
       withWorkloadExit(withContainerExit(seen(Seen::kExited), 0, true), 3), Step::kWait, SandboxState::kFailed,
       "workload_exited"},
      {"the first process died", kRunning, 1, 1, Intent::kNone, withContainerExit(seen(Seen::kExited), 137), Step::kWait,
       SandboxState::kFailed, "guest_lost"},
      {"the engine went down and took it along", kRunning, 1, 1, Intent::kNone,
       withLostRuntime(withContainerExit(seen(Seen::kExited), 137)), Step::kStart, SandboxState::kStarting,
       "runtime_restarted"},
      {"the engine was restarted since, while nobody looked", kRunning, 1, 1, Intent::kNone,
       inInstance(withContainerExit(seen(Seen::kExited), 137), "engine-2"), Step::kStart, SandboxState::kStarting,
       "runtime_restarted"},
      {"it ended by itself in an engine that only did not answer", kRunning, 1, 1, Intent::kNone,
       inInstance(withLostRuntime(withContainerExit(seen(Seen::kExited), 137)), "engine-1"), Step::kWait,
       SandboxState::kFailed, "guest_lost"},
      {"the workload ended before the engine did", kRunning, 1, 1, Intent::kNone,
       inInstance(withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 3), "engine-2"), Step::kWait,
       SandboxState::kFailed, "workload_exited"},
      {"a newer start after it ended", kRunning, 3, 1, Intent::kNone, withContainerExit(seen(Seen::kExited), 0),
       Step::kStart, SandboxState::kStarting, ""},
      {"the agent died between intent and start of a second run", kRunning, 3, 3, Intent::kStart,
       withContainerExit(seen(Seen::kExited), 0), Step::kStart, SandboxState::kStarting, ""},
      {"somebody removed a container that ran", kRunning, 1, 1, Intent::kNone, withBlueprint(seen(Seen::kAbsent)),
       Step::kWait, SandboxState::kFailed, "container_lost"},
      {"stop what runs", kStopped, 2, 1, Intent::kNone, withGate(seen(Seen::kRunning)), Step::kStop, none, ""},
      {"stopped", kStopped, 2, 1, Intent::kStop, withContainerExit(seen(Seen::kExited), 0), Step::kWait,
       SandboxState::kStopped, "stopped_by_user"},
      {"stop of what never ran", kStopped, 2, 0, Intent::kNone, seen(Seen::kAbsent), Step::kWait, SandboxState::kStopped,
       "stopped_by_user"},
      {"delete looks first", kDeleted, 2, 1, Intent::kNone, seen(Seen::kUnknown), Step::kInspect,
       SandboxState::kDeleting, ""},
      {"delete what runs", kDeleted, 2, 1, Intent::kNone, seen(Seen::kRunning), Step::kRemove, SandboxState::kDeleting,
       ""},
      {"delete what was only created", kDeleted, 2, 0, Intent::kCreate, seen(Seen::kCreated), Step::kRemove,
       SandboxState::kDeleting, ""},
      {"gone", kDeleted, 2, 1, Intent::kRemove, seen(Seen::kAbsent), Step::kWait, SandboxState::kDeleted, ""},
  };
  for (const auto& row : rows) {
    SandboxRecord record;
    record.assignment = assignment(row.generation, row.desired);
    record.runGeneration = row.runGeneration;
    record.intent = row.intent;
    if (!row.facts.bootId.empty()) record.runBootId = "before";
    if (!row.facts.instance.empty()) record.runInstance = "engine-1";
    const auto decision = decide(record, row.facts);
    EXPECT_EQ(stepName(decision.step), stepName(row.step)) << row.why;
    ASSERT_EQ(decision.observe.has_value(), row.says.has_value()) << row.why;
    if (row.says) {
      EXPECT_EQ(sandboxStateName(decision.observe->state), sandboxStateName(*row.says)) << row.why;
      EXPECT_EQ(decision.observe->reason, row.reason) << row.why;
    }
  }
}

TEST(SandboxModel, LooksTwiceOnlyAtAnEndThatNothingExplains) {
  SandboxRecord record;
  record.assignment = assignment(2);
  record.runGeneration = 2;
  const SandboxFacts facts;
  EXPECT_TRUE(endNeedsSecondLook(record, facts));
  EXPECT_FALSE(endNeedsSecondLook(record, withWorkloadExit(facts, 0))) << "the workload said how it ended";
  auto told = record;
  told.observation.generation = 2;
  told.observation.state = SandboxState::kFailed;
  EXPECT_FALSE(endNeedsSecondLook(told, facts)) << "it was told of";
  auto stopping = record;
  stopping.intent = Intent::kStop;
  EXPECT_FALSE(endNeedsSecondLook(stopping, facts)) << "this agent ended it";
  auto older = record;
  older.runGeneration = 1;
  EXPECT_FALSE(endNeedsSecondLook(older, facts)) << "an earlier generation's end keeps no start waiting";
  auto unwanted = record;
  unwanted.assignment.desired = DesiredState::kStopped;
  EXPECT_FALSE(endNeedsSecondLook(unwanted, facts)) << "nobody wants it to run";
}

TEST(SandboxModel, StartThatHappenedBeforeACrashIsNotRepeated) {
  SandboxRecord record;
  record.assignment = assignment(3);
  record.runGeneration = 3;
  record.intent = Intent::kStart;
  record.startedBefore = kNow;
  SandboxFacts facts = withContainerExit(seen(Seen::kExited), 0);
  facts.startedAt = kNow;
  EXPECT_EQ(decide(record, facts).step, Step::kStart);
  facts.startedAt = kNow + Millis(1);
  EXPECT_EQ(decide(record, facts).step, Step::kWait);
}

TEST(SandboxModel, AnEndThatWasToldIsNotTheWorkOfAnEngineThatGoesAwayLater) {
  SandboxRecord record;
  record.assignment = assignment(1);
  record.runGeneration = 1;
  record.observation.generation = 1;
  record.observation.state = SandboxState::kFailed;
  record.observation.reason = "workload_exited";
  record.observation.exit = ExitInfo{3, 0, false, kNow};
  const auto decision = decide(record, withLostRuntime(withContainerExit(seen(Seen::kExited), 0)));
  EXPECT_EQ(decision.step, Step::kWait);
  EXPECT_EQ(decision.observe->reason, "workload_exited");
}

TEST(SandboxModel, AFailedGenerationIsLeftAloneButNotLeftRunning) {
  SandboxRecord record;
  record.assignment = assignment(2);
  record.failedGeneration = 2;
  EXPECT_EQ(decide(record, seen(Seen::kAbsent)).step, Step::kWait);
  EXPECT_EQ(decide(record, seen(Seen::kRunning)).step, Step::kStop);
  record.assignment.generation = 3;
  EXPECT_EQ(decide(record, seen(Seen::kCreated)).step, Step::kStart);
}

TEST(SandboxModel, ADeletedRecordIsForgottenOnlyAfterTheServerKnows) {
  SandboxRecord record;
  record.assignment = assignment(2, kDeleted);
  record.observation.generation = 2;
  record.observation.sequence = 9;
  record.observation.state = SandboxState::kDeleted;
  record.ackedSequence = 8;
  EXPECT_EQ(decide(record, seen(Seen::kAbsent)).step, Step::kWait);
  EXPECT_EQ(decide(record, seen(Seen::kUnknown)).step, Step::kInspect);
  EXPECT_FALSE(decide(record, seen(Seen::kUnknown)).observe) << "looking again takes nothing back that was told";
  record.ackedSequence = 9;
  EXPECT_EQ(decide(record, seen(Seen::kAbsent)).step, Step::kFinish);
}

struct EndRow {
  std::string why;
  DesiredState desired;
  ExitCause begun;  // by this agent
  SandboxFacts facts;
  ExitCause cause;
};

TEST(SandboxModel, EveryEndHasItsCause) {
  const EndRow rows[] = {
      {"the workload ended by itself", kRunning, ExitCause::kUnspecified, withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 3),
       ExitCause::kExited},
      {"by a signal from inside", kRunning, ExitCause::kUnspecified, withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0, 15),
       ExitCause::kExited},
      {"the kernel, for want of memory", kRunning, ExitCause::kUnspecified,
       withWorkloadExit(withContainerExit(seen(Seen::kExited), 137, true), 0, 9), ExitCause::kOutOfMemory},
      {"the kernel took the guest", kRunning, ExitCause::kUnspecified, withContainerExit(seen(Seen::kExited), 137, true),
       ExitCause::kOutOfMemory},
      {"something on the host killed it", kRunning, ExitCause::kUnspecified, withContainerExit(seen(Seen::kExited), 137),
       ExitCause::kKilled},
      {"the host went down", kRunning, ExitCause::kUnspecified, withBoot(withContainerExit(seen(Seen::kExited), 137), "next"),
       ExitCause::kHostRestarted},
      {"the engine went down", kRunning, ExitCause::kUnspecified, withLostRuntime(withContainerExit(seen(Seen::kExited), 137)),
       ExitCause::kRuntimeLost},
      {"a wish", kStopped, ExitCause::kStopped, withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0, 15), ExitCause::kStopped},
      {"a wish, whose effect another agent had", kStopped, ExitCause::kStopped, withContainerExit(seen(Seen::kExited), 0),
       ExitCause::kStopped},
      {"ended before the wish to stop it came", kStopped, ExitCause::kUnspecified,
       withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0), ExitCause::kExited},
      {"the host went down while it was to be stopped", kStopped, ExitCause::kUnspecified,
       withBoot(withContainerExit(seen(Seen::kExited), 137), "next"), ExitCause::kHostRestarted},
  };
  for (const auto& row : rows) {
    SandboxRecord record;
    record.assignment = assignment(1, row.desired);
    record.runGeneration = 1;
    record.endCause = row.begun;
    if (!row.facts.bootId.empty()) record.runBootId = "before";
    const auto decision = decide(record, row.facts);
    ASSERT_TRUE(decision.observe && decision.observe->exit) << row.why;
    EXPECT_EQ(exitCauseName(decision.observe->exit->cause), exitCauseName(row.cause)) << row.why;
  }
}

TEST(SandboxModel, AContainerThatSomebodyRemovedHasADeathCertificateToo) {
  SandboxRecord record;
  record.assignment = assignment(1);
  record.runGeneration = 1;
  auto facts = seen(Seen::kAbsent);
  facts.missedAt = kNow;
  const auto exit = decide(record, facts).observe.value().exit.value();
  EXPECT_EQ(exit.cause, ExitCause::kKilled);
  EXPECT_EQ(exit.at, kNow);
}

TEST(SandboxModel, WhatWasToldOfAnEndStaysWhenTheAgentThatSawItIsGone) {
  SandboxRecord record;
  record.assignment = assignment(2, kStopped);
  record.runGeneration = 1;
  record.observation.generation = 1;
  record.observation.state = SandboxState::kFailed;
  record.observation.exit = ExitInfo{3, 0, false, kNow, ExitCause::kExited};
  const auto facts = withContainerExit(seen(Seen::kExited), 0);
  EXPECT_EQ(decide(record, facts).observe.value().exit, record.observation.exit);
}

TEST(SandboxModel, AStopThatWasBegunIsFinishedBeforeANewerStart) {
  SandboxRecord record;
  record.assignment = assignment(2, kStopped);
  record.runGeneration = 1;
  noteStop(record, withGate(seen(Seen::kRunning)));
  EXPECT_EQ(record.endCause, ExitCause::kStopped);
  record.assignment.generation = 3;
  record.assignment.desired = kRunning;
  EXPECT_EQ(decide(record, withGate(seen(Seen::kRunning))).step, Step::kStop);
  const auto exited = withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0, 15);
  EXPECT_EQ(decide(record, exited).step, Step::kStart);
  noteStart(record, exited);
  EXPECT_EQ(record.endCause, ExitCause::kUnspecified);
}

struct Remembered {
  std::string why;
  SandboxState state;
  std::uint64_t generation;  // of what the control plane was told last; the assignment's is 3
  bool ended;
  Seen container;
  Step step;
};

TEST(FirstRecord, GoesOnFromWhatTheControlPlaneWasTold) {
  const Remembered rows[] = {
      {"it runs: taken as it is", SandboxState::kRunning, 3, false, Seen::kRunning, Step::kOpenGate},
      {"it ended while nobody looked: told, not begun again", SandboxState::kRunning, 3, false, Seen::kExited, Step::kWait},
      {"it was removed while nobody looked", SandboxState::kRunning, 3, false, Seen::kAbsent, Step::kWait},
      {"its end was told before", SandboxState::kFailed, 3, true, Seen::kExited, Step::kWait},
      {"stopped in the generation before", SandboxState::kStopped, 2, true, Seen::kExited, Step::kStart},
      {"failed for good in this generation", SandboxState::kFailed, 3, false, Seen::kAbsent, Step::kWait},
      {"failed in the generation before", SandboxState::kFailed, 2, false, Seen::kAbsent, Step::kPrepare},
      {"was being made", SandboxState::kProvisioning, 3, false, Seen::kAbsent, Step::kPrepare},
      {"was being started again", SandboxState::kStarting, 3, false, Seen::kExited, Step::kStart},
      {"was being started again, and how the run before ended was told", SandboxState::kStarting, 3, true, Seen::kExited, Step::kStart},
  };
  for (const auto& row : rows) {
    auto incoming = assignment(3);
    Observation known;
    known.sandboxId = incoming.sandboxId;
    known.generation = row.generation;
    known.sequence = 41;
    known.state = row.state;
    known.startedAt = kNow;
    if (row.ended) known.exit = ExitInfo{1, 0, false, kNow};
    incoming.known = known;
    const auto record = firstRecord(incoming);
    EXPECT_FALSE(record.assignment.known) << row.why;
    EXPECT_EQ(record.ackedSequence, 41U) << row.why;
    auto facts = withBoot(seen(row.container), "this");
    EXPECT_EQ(stepName(decide(record, facts).step), stepName(row.step)) << row.why;
    const auto next = nextObservation(record, {SandboxState::kFailed, "x", "", std::nullopt}, kNow, std::nullopt);
    EXPECT_EQ(next->sequence, 42U) << row.why;
  }
}

TEST(SandboxModel, ARunThatWentOnIntoANewGenerationIsNotBegunAgainWhenItEnds) {
  SandboxRecord record;
  record.assignment = assignment(3);
  record.runGeneration = 1;
  record.observation.generation = 3;
  record.observation.state = SandboxState::kRunning;
  EXPECT_EQ(decide(record, withContainerExit(seen(Seen::kExited), 1)).step, Step::kWait);
}

TEST(CheckAssignment, TheBlueprintChangesOnlyTogetherWithTheRoot) {
  SandboxRecord held;
  held.assignment = assignment(5);
  held.assignment.rootGeneration = 3;
  auto other = assignment(6);
  other.spec.manifest = Digest::of("other");
  other.rootGeneration = 3;
  EXPECT_EQ(checkAssignment(other, &held).error().reason, "spec_rejected");
  other.rootGeneration = 2;
  EXPECT_EQ(checkAssignment(other, &held).error().reason, "spec_rejected");
  other.rootGeneration = 6;
  EXPECT_EQ(checkAssignment(other, &held).value(), Acceptance::kNew);
  other.spec.runtime = "lxc";
  EXPECT_EQ(checkAssignment(other, &held).error().reason, "spec_rejected");
}

TEST(CheckAssignment, GenerationsFence) {
  SandboxRecord held;
  held.assignment = assignment(5);
  EXPECT_EQ(checkAssignment(assignment(4), &held).error().reason, "stale_generation");
  EXPECT_EQ(checkAssignment(assignment(5), &held).value(), Acceptance::kSame);
  EXPECT_EQ(checkAssignment(assignment(6), &held).value(), Acceptance::kNew);
  EXPECT_EQ(checkAssignment(assignment(1), nullptr).value(), Acceptance::kNew);
  auto other = assignment(6);
  other.spec.manifest = Digest::of("other");
  EXPECT_EQ(checkAssignment(other, &held).error().code, ErrorCode::kInvalidArgument);
  auto sbx = assignment(1);
  sbx.spec.runtime = "sbx";
  EXPECT_EQ(checkAssignment(sbx, nullptr).error().code, ErrorCode::kUnimplemented);
  held.assignment.desired = kDeleted;
  EXPECT_EQ(checkAssignment(assignment(6), &held).error().code, ErrorCode::kFailedPrecondition);
}

TEST(JudgeFailure, UnknownIsNotDeadAndCleanUpNeverGivesUp) {
  EXPECT_EQ(judgeFailure(Step::kStart, makeError(ErrorCode::kUnavailable, "x")).retry, Retry::kYes);
  EXPECT_EQ(judgeFailure(Step::kStart, makeError(ErrorCode::kUnavailable, "x")).reason, "runtime_unavailable");
  EXPECT_EQ(judgeFailure(Step::kPrepare, makeError(ErrorCode::kUnavailable, "x")).reason, "blueprint_unavailable");
  EXPECT_EQ(judgeFailure(Step::kPrepare, makeError(ErrorCode::kResourceExhausted, "x")).reason, "disk_full");
  EXPECT_EQ(judgeFailure(Step::kPrepare, makeError(ErrorCode::kDataLoss, "x")).reason, "blueprint_damaged");
  EXPECT_EQ(judgeFailure(Step::kPrepare, makeError(ErrorCode::kDataLoss, "x")).retry, Retry::kNo);
  EXPECT_EQ(judgeFailure(Step::kOpenGate, makeError(ErrorCode::kDeadlineExceeded, "x")).reason, "guest_lost");
  EXPECT_EQ(judgeFailure(Step::kRemove, makeError(ErrorCode::kInternal, "x")).retry, Retry::kYes);
}

TEST(NextObservation, SaysNothingTwice) {
  SandboxRecord record;
  record.assignment = assignment(1);
  const ObservationDraft draft{SandboxState::kRunning, "", "", std::nullopt};
  const auto first = nextObservation(record, draft, kNow, kNow);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sequence, 1U);
  record.observation = *first;
  EXPECT_FALSE(nextObservation(record, draft, kNow, kNow));
  record.assignment.generation = 2;
  EXPECT_EQ(nextObservation(record, draft, kNow, kNow)->sequence, 2U);
}

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include "agent/core/sandbox_model.h"

namespace gs {
namespace {

Assignment assignment(std::uint64_t generation, DesiredState desired = DesiredState::kRunning) {
  Assignment a;
  a.sandboxId = SandboxId::trusted("sbx_00000000000000000000");
  a.generation = generation;
  a.desired = desired;
  a.spec.manifest = Digest::of("m");
  return a;
}

const WallTime kNow = fromUnixMillis(1'767'323'045'678);

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

SandboxFacts seen(Seen container) {
  SandboxFacts facts;
  facts.container = container;
  return facts;
}
SandboxFacts withBlueprint(SandboxFacts facts) {
  facts.blueprintReady = true;
  return facts;
}
SandboxFacts withGate(SandboxFacts facts) {
  facts.gateOpen = true;
  return facts;
}
SandboxFacts withWorkloadExit(SandboxFacts facts, int code, int signal = 0) {
  facts.workloadExit = ExitInfo{code, signal, false, kNow};
  return facts;
}
SandboxFacts withContainerExit(SandboxFacts facts, int code, bool oom = false) {
  facts.exit = ExitInfo{code, 0, oom, kNow};
  return facts;
}
SandboxFacts withLostRuntime(SandboxFacts facts) {
  facts.runtimeWasLost = true;
  return facts;
}

SandboxFacts inInstance(SandboxFacts facts, std::string instance) {
  facts.instance = std::move(instance);
  return facts;
}

SandboxFacts withBoot(SandboxFacts facts, std::string bootId) {
  facts.bootId = std::move(bootId);
  return facts;
}

using enum DesiredState;

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

// A sandbox whose policy restarts it, as its agent sees it through ends, waits and starts.
class RestartPolicyModel : public ::testing::Test {
 protected:
  RestartPolicyModel() {
    record_.assignment = assignment(1);
    record_.assignment.spec.restart = {RestartMode::kOnFailure, 0};
    record_.runGeneration = 1;
    record_.observation.generation = 1;
    record_.observation.sequence = 1;
    record_.observation.state = SandboxState::kRunning;
  }
  SandboxFacts ended(int code, Millis after = Millis(5)) {
    auto facts = withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), code);
    facts.startedAt = kNow - after;
    return facts;
  }
  // Takes the decision as the actor does, up to the effect.
  Decision step(const SandboxFacts& facts) {
    auto decision = decide(record_, facts);
    if (decision.observe) {
      if (const auto next = nextObservation(record_, *decision.observe, kNow, std::nullopt)) record_.observation = *next;
    }
    if (decision.step == Step::kStart) noteStart(record_, facts);
    return decision;
  }
  // From an end to the next run; the wait that was asked for.
  Millis restart(const SandboxFacts& end) {
    const auto wait = step(end).restartWithin.value_or(Millis(-1));
    auto due = end;
    due.restartDue = true;
    EXPECT_EQ(step(due).step, Step::kStart);
    record_.intent = Intent::kNone;
    auto running = withGate(seen(Seen::kRunning));
    running.startedAt = kNow;
    EXPECT_EQ(step(running).observe.value().state, SandboxState::kRunning);
    return wait;
  }

  SandboxRecord record_;
};

TEST_F(RestartPolicyModel, WaitsWithTheExitOfTheRunAndCountsBeforeItStarts) {
  const auto waiting = step(ended(3));
  EXPECT_EQ(waiting.step, Step::kWait);
  EXPECT_EQ(waiting.restartWithin, Millis(1'000));
  EXPECT_EQ(record_.observation.state, SandboxState::kStarting);
  EXPECT_EQ(record_.observation.reason, "restart_backoff");
  EXPECT_EQ(record_.observation.exit.value().code, 3);
  EXPECT_EQ(record_.observation.restarts, 0U);
  auto due = ended(3);
  due.restartDue = true;
  EXPECT_EQ(step(due).step, Step::kStart);
  EXPECT_EQ(record_.observation.restarts, 1U) << "journalled together with the intent";
  EXPECT_EQ(record_.intent, Intent::kStart);
}

TEST_F(RestartPolicyModel, ACrashAtAnyPointNeitherLosesNorDoublesARestart) {
  static_cast<void>(step(ended(3)));
  // An agent that comes back during the wait has not seen the workload's exit.
  auto found = withContainerExit(seen(Seen::kExited), 0);
  found.startedAt = kNow - Millis(5);
  const auto again = step(found);
  EXPECT_EQ(again.step, Step::kWait);
  EXPECT_EQ(again.restartWithin, Millis(1'000));
  EXPECT_EQ(record_.observation.exit.value().code, 3);
  EXPECT_EQ(record_.observation.sequence, 2U) << "nothing new to tell";
  found.restartDue = true;
  EXPECT_EQ(step(found).step, Step::kStart);
  // It died between intent and start: the start is made up for, and not counted again.
  found.restartDue = false;
  EXPECT_EQ(step(found).step, Step::kStart);
  EXPECT_EQ(record_.observation.restarts, 1U);
  EXPECT_EQ(record_.quickRestarts, 1U);
  // It died after the start, and the new run has ended meanwhile: one more end, one more wait.
  auto next = found;
  next.startedAt = kNow;
  const auto after = step(next);
  EXPECT_EQ(after.step, Step::kWait);
  EXPECT_EQ(after.restartWithin, Millis(2'000));
}

TEST_F(RestartPolicyModel, TheWaitDoublesUpToAMinuteAndALongRunStartsOver) {
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 8; ++i) waits.push_back(restart(ended(1)).count());
  EXPECT_EQ(waits, (std::vector<std::int64_t>{1'000, 2'000, 4'000, 8'000, 16'000, 32'000, 60'000, 60'000}));
  EXPECT_EQ(restart(ended(1, Millis(60'000))), Millis(1'000));
  EXPECT_EQ(restart(ended(1)), Millis(2'000));
  EXPECT_EQ(record_.observation.restarts, 10U);
}

TEST_F(RestartPolicyModel, TheEndAfterTheLastRestartIsFinal) {
  record_.assignment.spec.restart = {RestartMode::kAlways, 2};
  restart(ended(1));
  restart(ended(0));
  const auto last = step(ended(7));
  EXPECT_FALSE(last.restartWithin);
  EXPECT_EQ(record_.observation.state, SandboxState::kFailed);
  EXPECT_EQ(record_.observation.reason, "workload_exited");
  EXPECT_EQ(record_.observation.restarts, 2U);
  auto due = ended(7);
  due.restartDue = true;
  EXPECT_EQ(step(due).step, Step::kWait) << "and stays it";
}

TEST_F(RestartPolicyModel, ANewerGenerationCountsAnewAndIsNotMadeToWait) {
  restart(ended(1));
  static_cast<void>(step(ended(1)));
  record_.assignment.generation = 2;
  EXPECT_EQ(step(ended(1)).step, Step::kStart);
  EXPECT_EQ(record_.observation.restarts, 0U);
  EXPECT_EQ(record_.quickRestarts, 0U);
}

TEST_F(RestartPolicyModel, AStopAndADeletionCancelTheWait) {
  static_cast<void>(step(ended(1)));
  auto due = ended(1);
  due.restartDue = true;
  record_.assignment.generation = 2;
  record_.assignment.desired = kStopped;
  EXPECT_EQ(step(due).step, Step::kWait);
  EXPECT_EQ(record_.observation.state, SandboxState::kStopped);
  EXPECT_EQ(record_.observation.exit.value().cause, ExitCause::kExited);
  record_.assignment.generation = 3;
  record_.assignment.desired = kDeleted;
  EXPECT_EQ(step(due).step, Step::kRemove);
}

TEST_F(RestartPolicyModel, HostAndEngineRestartsAreNotCounted) {
  auto engine = withLostRuntime(withContainerExit(seen(Seen::kExited), 137));
  EXPECT_EQ(step(engine).step, Step::kStart);
  EXPECT_EQ(record_.observation.reason, "runtime_restarted");
  EXPECT_EQ(record_.observation.restarts, 0U);
  EXPECT_EQ(record_.observation.exit.value().cause, ExitCause::kRuntimeLost);
}

TEST_F(RestartPolicyModel, AnEngineThatGoesAwayDuringTheWaitDoesNotShortenIt) {
  static_cast<void>(step(ended(1)));
  const auto decision = step(withBoot(withLostRuntime(withContainerExit(seen(Seen::kExited), 137)), "next"));
  EXPECT_EQ(decision.step, Step::kWait);
  EXPECT_EQ(record_.observation.reason, "restart_backoff");
}

struct PolicyRow {
  std::string why;
  RestartMode mode;
  SandboxFacts facts;
  bool restarts;
};

TEST_F(RestartPolicyModel, DecidesByModeAndEnd) {
  auto noProgram = withWorkloadExit(seen(Seen::kExited), 127);
  noProgram.workloadStartError = "no such file";
  const auto clean = withWorkloadExit(seen(Seen::kExited), 0);
  const auto bad = withWorkloadExit(seen(Seen::kExited), 2);
  const PolicyRow rows[] = {
      {"never", RestartMode::kNever, bad, false},
      {"a good end is no failure", RestartMode::kOnFailure, clean, false},
      {"a bad one is", RestartMode::kOnFailure, bad, true},
      {"a signal", RestartMode::kOnFailure, withWorkloadExit(seen(Seen::kExited), 0, 15), true},
      {"out of memory", RestartMode::kOnFailure, withWorkloadExit(withContainerExit(seen(Seen::kExited), 137, true), 0, 9), true},
      {"no workload, and the sandbox was killed", RestartMode::kOnFailure, withContainerExit(seen(Seen::kExited), 137), true},
      {"always means always", RestartMode::kAlways, clean, true},
      {"what cannot be started is not started for ever", RestartMode::kAlways, noProgram, false},
      {"somebody removed it with its root file system", RestartMode::kAlways, withBlueprint(seen(Seen::kAbsent)), false},
  };
  for (const auto& row : rows) {
    record_.assignment.spec.restart = {row.mode, 0};
    EXPECT_EQ(decide(record_, row.facts).restartWithin.has_value(), row.restarts) << row.why;
  }
}

TEST_F(RestartPolicyModel, TheEndIsToldBeforeTheContainerIsCleanedUp) {
  const auto decision = decide(record_, withWorkloadExit(withGate(seen(Seen::kRunning)), 1));
  EXPECT_EQ(decision.step, Step::kStop);
  EXPECT_EQ(decision.observe.value().reason, "restart_backoff");
  noteStop(record_, withWorkloadExit(withGate(seen(Seen::kRunning)), 1));
  EXPECT_EQ(record_.endCause, ExitCause::kUnspecified) << "cleaning up is no end";
}

TEST_F(RestartPolicyModel, GoesOnFromWhatTheControlPlaneWasToldWhenTheJournalIsLost) {
  static_cast<void>(step(ended(1)));
  auto incoming = record_.assignment;
  incoming.known = record_.observation;
  incoming.known->restarts = 4;
  record_ = firstRecord(incoming);
  auto found = withBoot(withContainerExit(seen(Seen::kExited), 0), "this");
  EXPECT_TRUE(step(found).restartWithin);
  found.restartDue = true;
  EXPECT_EQ(step(found).step, Step::kStart);
  EXPECT_EQ(record_.observation.restarts, 5U);
}

SandboxFacts disconnected(SandboxFacts facts) {
  facts.disconnectedTooLong = true;
  return facts;
}

TEST(SandboxModel, IsStoppedWithoutAControlPlaneAndStartedWhenItIsBack) {
  SandboxRecord record;
  record.assignment = assignment(1);
  record.assignment.spec.stopAfterDisconnect = Seconds(600);
  record.runGeneration = 1;
  record.observation.generation = 1;
  record.observation.state = SandboxState::kRunning;
  const auto running = withGate(seen(Seen::kRunning));
  EXPECT_EQ(decide(record, disconnected(running)).step, Step::kStop);
  EXPECT_EQ(decide(record, disconnected(seen(Seen::kRunning))).step, Step::kStop) << "behind the gate, after a restart of the agent";
  noteStop(record, disconnected(running));
  EXPECT_EQ(record.endCause, ExitCause::kDisconnected);
  const auto exited = withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 0, 15);
  const auto stopped = decide(record, disconnected(exited));
  EXPECT_EQ(stopped.step, Step::kWait);
  EXPECT_EQ(stopped.observe.value().state, SandboxState::kStopped);
  EXPECT_EQ(stopped.observe->reason, "host_disconnected_stop");
  EXPECT_EQ(stopped.observe->exit.value().cause, ExitCause::kDisconnected);
  record.observation = *nextObservation(record, *stopped.observe, kNow, std::nullopt);
  // The same by an agent without this one's memory, as the control plane knows it.
  auto incoming = record.assignment;
  incoming.known = record.observation;
  for (const auto& held : {record, firstRecord(incoming)}) {
    const auto back = decide(held, withContainerExit(seen(Seen::kExited), 0));
    EXPECT_EQ(back.step, Step::kStart);
    EXPECT_EQ(back.observe.value().reason, "host_reconnected");
    EXPECT_EQ(back.observe->countsRestart, false);
  }
  record.assignment.generation = 2;
  record.assignment.desired = kStopped;
  const auto wished = decide(record, withContainerExit(seen(Seen::kExited), 0));
  EXPECT_EQ(wished.step, Step::kWait) << "unless it is no longer to run";
  EXPECT_EQ(wished.observe.value().exit.value().cause, ExitCause::kDisconnected);
}

TEST(SandboxModel, NothingIsBegunWithoutAControlPlaneForTooLong) {
  SandboxRecord record;
  record.assignment = assignment(2);
  record.runGeneration = 1;
  for (const auto container : {Seen::kAbsent, Seen::kCreated, Seen::kExited}) {
    const auto decision = decide(record, disconnected(withBlueprint(seen(container))));
    EXPECT_EQ(decision.step, Step::kWait);
    EXPECT_EQ(decision.observe.value().reason, "host_disconnected_stop");
    EXPECT_FALSE(decision.observe->exit);
    auto told = record;
    told.observation = *nextObservation(record, *decision.observe, kNow, std::nullopt);
    EXPECT_NE(decide(told, withBlueprint(seen(container))).step, Step::kWait) << "and it is when that is back";
  }
}

TEST_F(RestartPolicyModel, WaitsOnWhileTheControlPlaneIsOutOfReachForTooLong) {
  static_cast<void>(step(ended(1)));
  auto due = disconnected(ended(1));
  due.restartDue = true;
  const auto waits = step(due);
  EXPECT_EQ(waits.step, Step::kWait);
  EXPECT_FALSE(waits.restartWithin) << "a wait that is over would be waited for without end";
  EXPECT_EQ(record_.observation.reason, "restart_backoff");
  due.disconnectedTooLong = false;
  EXPECT_EQ(step(due).step, Step::kStart);
}

TEST(SandboxModel, AnEndOfItsOwnStaysOneWhenTheControlPlaneIsOutOfReach) {
  SandboxRecord record;
  record.assignment = assignment(1);
  record.runGeneration = 1;
  const auto decision = decide(record, disconnected(withWorkloadExit(withContainerExit(seen(Seen::kExited), 0), 3)));
  EXPECT_EQ(decision.observe.value().reason, "workload_exited");
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

struct Replacement {
  std::string why;
  DesiredState desired;
  std::uint64_t madeFor;  // the container; the fresh root was asked for in 3, the present generation is 4
  SandboxFacts facts;
  Step step;
  std::optional<SandboxState> says;
};

// The record was lost with the old root gone, and what the control plane has heard last is older than that.
TEST(SandboxModel, MakesAFreshRootThatWasHeldWhenItWasToldOfLast) {
  for (const auto reason : {kHeldReason, kRefusedReason}) {
    SandboxRecord record;
    record.assignment = assignment(6, kRunning);
    record.assignment.rootGeneration = 6;
    record.observation.generation = 6;
    record.observation.sequence = 5;
    record.observation.state = SandboxState::kRunning;
    record.observation.reason = reason;
    EXPECT_EQ(decide(record, withBlueprint(seen(Seen::kAbsent))).step, Step::kCreate);
    record.observation.reason.clear();
    EXPECT_EQ(decide(record, withBlueprint(seen(Seen::kAbsent))).observe.value().reason, "container_lost");
  }
}

TEST(SandboxModel, ReplacesWhatWasMadeBeforeTheFreshRoot) {
  const auto none = std::optional<SandboxState>();
  const Replacement rows[] = {
      {"the blueprint comes before the old root goes", kRunning, 2, withGate(seen(Seen::kRunning)), Step::kPrepare,
       SandboxState::kProvisioning},
      {"what runs is stopped", kRunning, 2, withBlueprint(withGate(seen(Seen::kRunning))), Step::kStop, SandboxState::kProvisioning},
      {"what is stopped is removed", kRunning, 2, withBlueprint(withContainerExit(seen(Seen::kExited), 0)), Step::kRemove,
       SandboxState::kProvisioning},
      {"what never ran is removed", kRunning, 2, withBlueprint(seen(Seen::kCreated)), Step::kRemove, SandboxState::kProvisioning},
      {"removed: made anew", kRunning, 0, withBlueprint(seen(Seen::kAbsent)), Step::kCreate, SandboxState::kProvisioning},
      {"its workload ended while it is replaced: no end of the new one", kRunning, 2,
       withBlueprint(withWorkloadExit(withGate(seen(Seen::kRunning)), 3)), Step::kStop, SandboxState::kProvisioning},
      {"the one of the asking generation stays", kRunning, 3, seen(Seen::kCreated), Step::kStart, SandboxState::kStarting},
      {"a later one stays", kRunning, 4, withGate(seen(Seen::kRunning)), Step::kWait, SandboxState::kRunning},
      {"nothing is known: look first", kRunning, 0, seen(Seen::kUnknown), Step::kInspect, none},
      {"to be stopped meanwhile: stopped, and replaced when it starts", kStopped, 2, withGate(seen(Seen::kRunning)), Step::kStop, none},
      {"to be deleted meanwhile", kDeleted, 2, withGate(seen(Seen::kRunning)), Step::kRemove, SandboxState::kDeleting},
  };
  for (const auto& row : rows) {
    SandboxRecord record;
    record.assignment = assignment(4, row.desired);
    record.assignment.rootGeneration = 3;
    record.runGeneration = 2;
    auto facts = row.facts;
    facts.containerGeneration = row.madeFor;
    const auto decision = decide(record, facts);
    EXPECT_EQ(stepName(decision.step), stepName(row.step)) << row.why;
    ASSERT_EQ(decision.observe.has_value(), row.says.has_value()) << row.why;
    if (row.says) EXPECT_EQ(sandboxStateName(decision.observe->state), sandboxStateName(*row.says)) << row.why;
  }
}

TEST(SandboxModel, AFailedReplacementLeavesTheOldRootStoppedAndThere) {
  SandboxRecord record;
  record.assignment = assignment(4);
  record.assignment.rootGeneration = 4;
  record.failedGeneration = 4;
  auto facts = withGate(seen(Seen::kRunning));
  facts.containerGeneration = 1;
  EXPECT_EQ(decide(record, facts).step, Step::kStop);
  facts.container = Seen::kExited;
  EXPECT_EQ(decide(record, facts).step, Step::kWait);
}

struct Archiving {
  std::string why;
  SandboxFacts facts;
  std::uint64_t runGeneration;
  std::uint64_t rootGeneration;
  Step step;
  std::string reason;
};

SandboxFacts withLayer(SandboxFacts facts, bool sent) {
  facts.layerTaken = true;
  facts.layerSent = sent;
  return facts;
}

TEST(SandboxModel, ArchivesStepByStepAndRemovesNothing) {
  const Archiving rows[] = {
      {"look first", seen(Seen::kUnknown), 1, 0, Step::kInspect, ""},
      {"what runs is stopped", withGate(seen(Seen::kRunning)), 1, 0, Step::kStop, ""},
      {"what it wrote is taken", withContainerExit(seen(Seen::kExited), 0), 1, 0, Step::kTakeLayer, "archiving"},
      {"one that never ran has files as well", seen(Seen::kCreated), 0, 0, Step::kTakeLayer, "archiving"},
      {"then sent", withLayer(withContainerExit(seen(Seen::kExited), 0), false), 1, 0, Step::kSendLayer, "archiving"},
      {"then kept until the control plane wishes it away", withLayer(withContainerExit(seen(Seen::kExited), 0), true), 1, 0, Step::kWait,
       "archiving"},
      {"somebody removed what was not taken", seen(Seen::kAbsent), 1, 0, Step::kWait, "container_lost"},
      {"somebody removed what was taken", withLayer(seen(Seen::kAbsent), false), 1, 0, Step::kSendLayer, "archiving"},
      {"it was never made: nothing but its blueprint", seen(Seen::kAbsent), 0, 0, Step::kTakeLayer, "archiving"},
      {"a fresh root was wanted: the old one is no part of it", withContainerExit(seen(Seen::kExited), 0), 1, 2, Step::kRemove, "archiving"},
      {"and the fresh one was never made", seen(Seen::kAbsent), 1, 2, Step::kTakeLayer, "archiving"},
  };
  for (const auto& row : rows) {
    SandboxRecord record;
    record.assignment = assignment(3, kArchived);
    record.assignment.rootGeneration = row.rootGeneration;
    record.runGeneration = row.runGeneration;
    auto facts = row.facts;
    facts.containerGeneration = 1;
    const auto decision = decide(record, facts);
    EXPECT_EQ(stepName(decision.step), stepName(row.step)) << row.why;
    ASSERT_EQ(decision.observe.has_value(), !row.reason.empty()) << row.why;
    if (decision.observe) EXPECT_EQ(decision.observe->reason, row.reason) << row.why;
  }
}

TEST(CheckAssignment, WhatWasArchivedMayComeBackToTheHostThatStillRemovesIt) {
  SandboxRecord held;
  held.assignment = assignment(5, kDeleted);
  auto back = assignment(6);
  back.spec.manifest = Digest::of("archived");
  EXPECT_FALSE(checkAssignment(back, &held));
  back.rootGeneration = 5;
  EXPECT_FALSE(checkAssignment(back, &held)) << "a fresh root from before the deletion is no way back";
  back.rootGeneration = 6;
  EXPECT_EQ(checkAssignment(back, &held).value(), Acceptance::kNew);
}

TEST(JudgeFailure, ArchivingLosesNothing) {
  EXPECT_EQ(judgeFailure(Step::kTakeLayer, makeError(ErrorCode::kUnavailable, "x")).retry, Retry::kYes);
  EXPECT_EQ(judgeFailure(Step::kTakeLayer, makeError(ErrorCode::kResourceExhausted, "x")).reason, "disk_full");
  EXPECT_EQ(judgeFailure(Step::kTakeLayer, makeError(ErrorCode::kResourceExhausted, "x")).retry, Retry::kNo);
  EXPECT_EQ(judgeFailure(Step::kTakeLayer, makeError(ErrorCode::kFailedPrecondition, "x").withReason("sandbox_has_volumes")).reason,
            "archive_failed");
  EXPECT_EQ(judgeFailure(Step::kSendLayer, makeError(ErrorCode::kResourceExhausted, "x")).reason, "archive_failed");
  EXPECT_EQ(judgeFailure(Step::kSendLayer, makeError(ErrorCode::kDataLoss, "x")).retry, Retry::kYes);
  EXPECT_EQ(judgeFailure(Step::kSendLayer, makeError(ErrorCode::kFailedPrecondition, "x").withReason("not_archiving")).retry, Retry::kYes);
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

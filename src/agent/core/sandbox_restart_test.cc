#include "agent/core/sandbox_model_fixture.h"

namespace gs {
namespace {

using enum DesiredState;

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

}  // namespace
}  // namespace gs

#include "agent/core/sandbox_model_fixture.h"

namespace gs {
namespace {

using enum DesiredState;

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
  for (const auto reason : {kDeletionHeld, kDeletionRejected}) {
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

}  // namespace
}  // namespace gs

#include "agent/core/deletion_fence.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

using Verdict = DeletionFence::Verdict;

SteadyTime at(int ms) { return SteadyTime(Millis(1'000'000 + ms)); }

TEST(DeletionFence, HoldsWhatGoesBeyondTheHostsLimit) {
  struct Row {
    const char* why;
    DeletionFenceLimits limits;
    std::size_t present;
    std::size_t wished;
    std::size_t goThrough;
  };
  const DeletionFenceLimits usual;
  const Row kRows[] = {
      {"few sandboxes: all of them may go", usual, 19, 19, 19},
      {"the smallest host that has a fence", usual, 20, 20, 19},
      {"half of forty", usual, 40, 40, 20},
      {"half, rounded down", usual, 41, 41, 20},
      {"a large host", usual, 1000, 1000, 500},
      {"a smaller share of a large host is no mass deletion", usual, 1000, 500, 500},
      {"a host with a tighter limit", {10, 3, Millis(60'000)}, 10, 10, 2},
      {"at least one", {50, 1, Millis(60'000)}, 1, 1, 0},
      {"100 percent holds nothing", {100, 1, Millis(60'000)}, 50, 50, 50},
  };
  for (const auto& row : kRows) {
    DeletionFence fence(row.limits);
    std::size_t through = 0;
    for (std::size_t n = 0; n < row.wished; ++n) through += fence.judge({}, row.present, at(0)) == Verdict::kGoesThrough ? 1 : 0;
    EXPECT_EQ(through, row.goThrough) << row.why;
  }
}

TEST(DeletionFence, CountsWhatIsGoneAsTheHostsForAsLongAsItsWish) {
  DeletionFence fence({50, 1, Millis(1000)});
  for (std::size_t present = 10; present > 5; --present) {
    EXPECT_EQ(fence.judge({}, present, at(0)), Verdict::kGoesThrough) << "each is one of ten, although others went before it";
    fence.gone({}, at(0));
  }
  EXPECT_EQ(fence.judge({}, 5, at(999)), Verdict::kHeld) << "the sixth of ten";
  EXPECT_EQ(fence.judge({}, 5, at(1000)), Verdict::kGoesThrough) << "the window is over but for the one before: two of five";
}

TEST(DeletionFence, LeavesHostsAloneWhoseSandboxesAreShortLived) {
  const DeletionFenceLimits usual;
  struct Row {
    const char* why;
    int livesMs;
    std::size_t present;
    bool held;
  };
  // One is deleted each second, and one made, for ten minutes.
  const Row kRows[] = {
      {"each lives for ten seconds", 10'000, 10, false},
      {"each lives for a little longer than the window", 61'000, 61, false},
      {"each lives for an hour on a large host", 3'600'000, 3600, false},
      {"they are old, and few: this host is being emptied", 3'600'000, 40, true},
  };
  for (const auto& row : kRows) {
    DeletionFence fence(usual);
    bool held = false;
    for (int now = 0; now < 600'000; now += 1000) {
      held = held || fence.judge(at(now - row.livesMs), row.present, at(now)) == Verdict::kHeld;
      fence.gone(at(now - row.livesMs), at(now));
    }
    EXPECT_EQ(held, row.held) << row.why;
  }
}

Assignment assignment(std::uint64_t generation, DesiredState desired, std::uint64_t root = 0) {
  Assignment a;
  a.sandboxId = SandboxId::trusted("sbx_0123456789abcdefghjk");
  a.generation = generation;
  a.desired = desired;
  a.rootGeneration = root;
  return a;
}

TEST(DeletionFence, TellsNewDestructionsFromThoseThatWereWishedBefore) {
  const auto holds = [](Assignment a) {
    SandboxRecord record;
    record.assignment = std::move(a);
    return record;
  };
  const auto running = holds(assignment(3, DesiredState::kRunning, 2));
  const auto deleted = holds(assignment(3, DesiredState::kDeleted));
  EXPECT_TRUE(destroysAnew(assignment(4, DesiredState::kDeleted), &running, {}));
  EXPECT_FALSE(destroysAnew(assignment(4, DesiredState::kDeleted), &deleted, {})) << "the same wish in a new generation";
  EXPECT_TRUE(destroysAnew(assignment(1, DesiredState::kDeleted), nullptr, {})) << "its container may be here all the same";
  EXPECT_FALSE(destroysAnew(assignment(4, DesiredState::kStopped, 2), &running, {}));
  EXPECT_FALSE(destroysAnew(assignment(4, DesiredState::kArchived, 2), &running, {})) << "archiving keeps everything";
  EXPECT_TRUE(destroysAnew(assignment(4, DesiredState::kRunning, 4), &running, {})) << "a fresh root";
  EXPECT_FALSE(destroysAnew(assignment(1, DesiredState::kRunning), nullptr, {}));
  EXPECT_EQ(destructionOf(assignment(4, DesiredState::kDeleted, 2)), 4U);
  EXPECT_EQ(destructionOf(assignment(4, DesiredState::kRunning, 2)), 2U);
  EXPECT_EQ(destructionOf(assignment(4, DesiredState::kRunning)), 0U);
}

TEST(DeletionFence, NamesASetByWhatIsInIt) {
  const HeldDestruction a{SandboxId::trusted("sbx_0123456789abcdefghjk"), 2, "a"};
  const HeldDestruction b{SandboxId::trusted("sbx_1123456789abcdefghjk"), 3, "b"};
  HeldDestruction newer = b;
  newer.generation = 4;
  EXPECT_EQ(fenceId({a, b}), fenceId({b, a}));
  EXPECT_EQ(fenceId({a, b}).size(), 32U);
  EXPECT_NE(fenceId({a, b}), fenceId({a}));
  EXPECT_NE(fenceId({a, b}), fenceId({a, newer}));
}

TEST(DeletionFence, DoesNothingToWhatIsHeldAndSaysSo) {
  SandboxRecord record;
  record.assignment = assignment(4, DesiredState::kDeleted);
  record.observation.sequence = 9;
  record.observation.state = SandboxState::kRunning;
  auto decision = decideHeld(record);
  EXPECT_EQ(decision.step, Step::kWait);
  EXPECT_EQ(decision.observe.value().state, SandboxState::kDeleting);
  EXPECT_EQ(decision.observe->reason, "deletion_held");
  record.assignment = assignment(4, DesiredState::kRunning, 4);
  decision = decideHeld(record);
  EXPECT_EQ(decision.step, Step::kWait);
  EXPECT_EQ(decision.observe.value().state, SandboxState::kRunning) << "a fresh root that is held leaves it running";
  EXPECT_EQ(decision.observe->reason, "deletion_held");
}

TEST(DeletionFence, GoesByTheAnswersInOrder) {
  struct Row {
    std::uint64_t destruction;
    FenceAnswers answers;
    Destruction expected;
    const char* reason;
  };
  const Row rows[] = {
      {0, {}, Destruction::kReleased, "nothing is destroyed"},
      {4, {}, Destruction::kHeld, "nobody answered"},
      {4, {4, 0}, Destruction::kReleased, "released"},
      {4, {0, 4}, Destruction::kRefused, "refused"},
      {5, {0, 4}, Destruction::kHeld, "wished anew"},
      {5, {5, 4}, Destruction::kReleased, "wished anew, and released"},
      {2, {0, 4}, Destruction::kRefused, "a fresh root that was wished before the deletion that was refused"},
      {2, {2, 4}, Destruction::kReleased, "one that was made before that"},
  };
  for (const auto& row : rows) EXPECT_EQ(answerTo(row.destruction, row.answers), row.expected) << row.reason;
}

TEST(DeletionFence, CountsADeletionThatWasRefusedAndIsWishedAnew) {
  SandboxRecord deleted;
  deleted.assignment = assignment(3, DesiredState::kDeleted);
  EXPECT_TRUE(destroysAnew(assignment(4, DesiredState::kDeleted), &deleted, {0, 3}));
  EXPECT_FALSE(destroysAnew(assignment(4, DesiredState::kRunning), &deleted, {0, 3}));
}

TEST(DeletionFence, ServesWhatIsRefusedAsIfItHadNotBeenWished) {
  SandboxRecord record;
  record.assignment = assignment(4, DesiredState::kDeleted);
  record.runGeneration = 3;
  record.observation.generation = 3;
  record.observation.sequence = 9;
  record.observation.state = SandboxState::kRunning;
  SandboxFacts facts;
  EXPECT_EQ(decideRefused(record, facts).step, Step::kInspect) << "nobody looked since it was held";
  facts.container = Seen::kRunning;
  facts.containerGeneration = 3;
  EXPECT_EQ(decideRefused(record, facts).step, Step::kOpenGate) << "its guest dials again after a restart of the agent";
  facts.gateOpen = true;
  auto decision = decideRefused(record, facts);
  EXPECT_EQ(decision.step, Step::kWait);
  EXPECT_EQ(decision.observe.value().state, SandboxState::kRunning);
  EXPECT_EQ(decision.observe->reason, "deletion_rejected");
  facts.container = Seen::kExited;
  decision = decideRefused(record, facts);
  EXPECT_EQ(decision.step, Step::kWait) << "what stands still is left alone";
  EXPECT_EQ(decision.observe.value().state, SandboxState::kStopped);
  facts.container = Seen::kRunning;
  record.assignment = assignment(4, DesiredState::kRunning, 4);
  decision = decideRefused(record, facts);
  EXPECT_EQ(decision.step, Step::kWait) << "it keeps the root file system that it has";
  EXPECT_EQ(decision.observe.value().reason, "deletion_rejected");
  record.assignment = assignment(5, DesiredState::kStopped, 4);
  EXPECT_EQ(decideRefused(record, facts).step, Step::kStop) << "other wishes are carried out";
}

TEST(DeletionFence, TakesAnotherWishOnceADeletionWasRefused) {
  SandboxRecord record;
  record.assignment = assignment(4, DesiredState::kDeleted);
  const auto start = assignment(5, DesiredState::kRunning);
  EXPECT_EQ(checkAssignment(start, &record).error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(checkAssignment(start, &record, Deletion::kWasRefused).value(), Acceptance::kNew);
}

}  // namespace
}  // namespace gs

#include "agent/sandboxes/supervisor_fixture.h"

namespace gs {
namespace {

class SupervisorFence : public SupervisorFixture {
 public:
  Task<void> massDeletion() {
    fence_ = {50, 3, Millis(60'000)};
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    std::vector<SandboxId> ids;
    for (int n = 0; n < 6; ++n) {
      id_ = ids.emplace_back(SandboxId::make());
      EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    }
    const auto running = [&] { return runtime_.countRunning(); };
    for (int i = 0; i < 1000 && supervisor->runningCount() < 6; ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(running(), 6U);
    // What came in the last minute would not count: after a restart nobody knows how old they are.
    co_await supervisor->stop();
    supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    for (const auto& id : ids) {
      id_ = id;
      EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kDeleted))).refusal) << "held ones are taken as well";
    }
    for (int i = 0; i < 1000 && running() > 3; ++i) co_await sleepFor(Millis(2));
    co_await sleepFor(Millis(50));
    EXPECT_EQ(running(), 3U) << "half of six goes, the rest waits";
    const auto held = supervisor->heldDestructions();
    EXPECT_EQ(held.size(), 3U);
    EXPECT_EQ(std::ranges::count_if(observations_, [](const auto& o) { return o.reason == "deletion_held" && o.state == SandboxState::kDeleting; }), 3);
    co_await supervisor->stop();

    supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    co_await sleepFor(Millis(50));
    EXPECT_EQ(running(), 3U) << "a restart is no confirmation";
    EXPECT_EQ(supervisor->heldDestructions(), held);
    // The same wish in a newer generation is another set.
    const auto fence = fenceId(held);
    id_ = held.front().sandboxId;
    EXPECT_FALSE((co_await supervisor->assign(assignment(3, DesiredState::kDeleted))).refusal);
    EXPECT_EQ((co_await supervisor->confirmDestructions(fence)).error().reason, "fence_changed");
    EXPECT_EQ(running(), 3U);
    const auto now = fenceId(supervisor->heldDestructions());
    EXPECT_EQ(co_await supervisor->confirmDestructions(now), 3U);
    EXPECT_EQ(co_await supervisor->confirmDestructions(now), 3U) << "a repeat gets the same answer";
    for (int i = 0; i < 1000 && running() > 0; ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(running(), 0U);
    EXPECT_TRUE(supervisor->heldDestructions().empty());
    co_await supervisor->stop();
    supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_TRUE(supervisor->heldDestructions().empty()) << "what was confirmed stays confirmed";
    co_await supervisor->stop();
  }

  // The first try of the deletions got as far as their release, and its agent died.
  Task<void> releasedBefore() {
    fence_ = {1, 1, Millis(60'000)};
    std::vector<SandboxId> ids{SandboxId::make(), SandboxId::make()};
    EXPECT_TRUE((co_await journal_.loadAnswers({})).has_value());
    EXPECT_TRUE(co_await journal_.release({{ids[0], 2}, {ids[1], 1}}));
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    for (const auto& id : ids) {
      id_ = id;
      EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kDeleted))).refusal);
    }
    const auto held = supervisor->heldDestructions();
    EXPECT_EQ(held.size(), 1U) << "what is on disk is not judged again; an older release is of another wish";
    EXPECT_EQ(held.front().sandboxId, ids[1]);
    // It is confirmed and done; then an old message of it comes once more, and is held by the same name.
    const auto fence = fenceId(held);
    EXPECT_EQ(co_await supervisor->confirmDestructions(fence), 1U);
    for (const auto deadline = Deadline::after(Millis(20'000)); supervisor->find(id_) != nullptr && !deadline.expired();) {
      for (const auto& told : supervisor->unacknowledged()) {
        if (told.state == SandboxState::kDeleted) supervisor->acknowledge(told.sandboxId, told.sequence);
      }
      co_await sleepFor(Millis(2));
    }
    EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kDeleted))).refusal);
    EXPECT_EQ(fenceId(supervisor->heldDestructions()), fence);
    EXPECT_EQ(co_await supervisor->confirmDestructions(fence), 1U);
    EXPECT_TRUE(supervisor->heldDestructions().empty()) << "the answer before was for the set before";
    co_await supervisor->stop();
  }
};

TEST_F(SupervisorFence, DoesNotHoldWhatItLetGoBefore) { runTask(loop_, releasedBefore()); }
TEST_F(SupervisorFence, HoldsAMassDeletionUntilExactlyItIsConfirmed) { runTask(loop_, massDeletion()); }

}  // namespace
}  // namespace gs

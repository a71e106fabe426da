#include "agent/sandboxes/supervisor_fixture.h"

namespace gs {
namespace {

class SupervisorPolicy : public SupervisorFixture {
 public:
  Task<void> restartPolicy() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    auto wanted = assignment(1);
    wanted.spec.restart = {RestartMode::kOnFailure, 1};
    EXPECT_FALSE((co_await supervisor->assign(wanted)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    guest_->exitWorkload({3, 0, ""});
    while (!(last().state == SandboxState::kRunning && last().restarts == 1)) co_await heard_.waitUntil(Deadline::after(Millis(5'000)));
    EXPECT_EQ(runtime_.starts, 2);
    const auto waited = std::ranges::find(observations_, std::string("restart_backoff"), &Observation::reason);
    EXPECT_NE(waited, observations_.end());
    EXPECT_EQ(waited->exit.value().code, 3);
    EXPECT_EQ(waited->exit->cause, ExitCause::kExited);
    guest_->exitWorkload({4, 0, ""});
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 1));
    EXPECT_EQ(last().restarts, 1U);
    EXPECT_EQ(runtime_.starts, 2);
    co_await supervisor->stop();
  }

  Task<void> stopWithoutAControlPlane() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    auto wanted = assignment(1);
    wanted.spec.stopAfterDisconnect = Seconds(60);
    EXPECT_FALSE((co_await supervisor->assign(wanted)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    EXPECT_TRUE(supervisor->mindsTheLink());
    // Its own timer, for what is left of the minute.
    linkDown_ = Millis(59'950);
    supervisor->linkChanged();
    co_await sleepFor(Millis(10));
    EXPECT_EQ(last().state, SandboxState::kRunning);
    linkDown_ = Millis(60'000);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 1));
    EXPECT_EQ(last().reason, "host_disconnected_stop");
    EXPECT_EQ(last().exit.value().cause, ExitCause::kDisconnected);
    linkDown_.reset();
    supervisor->linkChanged();
    while (last().state != SandboxState::kRunning) co_await heard_.waitUntil(Deadline::after(Millis(5'000)));
    EXPECT_EQ(runtime_.starts, 2);
    EXPECT_EQ(last().restarts, 0U);
    co_await supervisor->stop();
  }

  Task<void> stopDuringTheWait() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    auto wanted = assignment(1);
    wanted.spec.restart = {RestartMode::kAlways, 0};
    EXPECT_FALSE((co_await supervisor->assign(wanted)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    guest_->exitWorkload({3, 0, ""});
    EXPECT_TRUE(co_await waitFor(SandboxState::kStarting, 1));
    EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kStopped))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 2));
    EXPECT_EQ(last().exit.value().cause, ExitCause::kExited) << "the stop came after the end";
    EXPECT_EQ(runtime_.starts, 1);
    co_await supervisor->stop();
  }
};

TEST_F(SupervisorPolicy, RestartsByThePolicyAndStopsWhenItIsUsedUp) { runTask(loop_, restartPolicy()); }
TEST_F(SupervisorPolicy, StopsWithoutAControlPlaneAndStartsWhenItIsBack) { runTask(loop_, stopWithoutAControlPlane()); }
TEST_F(SupervisorPolicy, AStopEndsTheWaitForARestart) { runTask(loop_, stopDuringTheWait()); }

}  // namespace
}  // namespace gs

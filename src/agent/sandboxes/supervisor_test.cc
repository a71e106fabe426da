#include "agent/sandboxes/supervisor_fixture.h"

namespace gs {
namespace {

class SupervisorTest : public SupervisorFixture {
 public:
  Task<void> createStopStartDelete() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    EXPECT_EQ(runtime_.creates, 1);
    EXPECT_EQ(supervisor->runningCount(), 1U);

    auto stop = assignment(2, DesiredState::kStopped);
    stop.known = last();
    EXPECT_FALSE((co_await supervisor->assign(std::move(stop))).refusal);
    EXPECT_FALSE(supervisor->find(id_)->assignment.known) << "it is for a host that has no record";
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 2));
    EXPECT_EQ(last().exit.value().cause, ExitCause::kStopped);
    EXPECT_EQ(last().reason, "stopped_by_user");

    EXPECT_FALSE((co_await supervisor->assign(assignment(3))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 3));
    EXPECT_EQ(runtime_.creates, 1) << "a start is not a create";
    EXPECT_EQ(runtime_.starts, 2);

    const auto stale = co_await supervisor->assign(assignment(2, DesiredState::kStopped));
    EXPECT_EQ(stale.refusal.value().reason, "stale_generation");

    EXPECT_FALSE((co_await supervisor->assign(assignment(4, DesiredState::kDeleted))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kDeleted, 4));
    EXPECT_TRUE(runtime_.containers.empty());
    EXPECT_EQ(supervisor->versions().size(), 1U) << "kept until the control plane knows";
    supervisor->acknowledge(id_, last().sequence);
    for (int i = 0; i < 500 && !supervisor->versions().empty(); ++i) co_await sleepFor(Millis(2));
    EXPECT_TRUE(supervisor->versions().empty());
    EXPECT_TRUE((co_await journal_.load())->empty());
    co_await supervisor->stop();
  }

  Task<void> freshRoot() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    auto fresh = assignment(2);
    fresh.rootGeneration = 2;
    EXPECT_FALSE((co_await supervisor->assign(fresh)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 2));
    EXPECT_EQ(runtime_.creates, 2);
    EXPECT_EQ(runtime_.containers.at(id_).generation, 2U);
    // Another blueprint, while it is stopped.
    EXPECT_FALSE((co_await supervisor->assign([&] {
                    auto stop = assignment(3, DesiredState::kStopped);
                    stop.rootGeneration = 2;
                    return stop;
                  }())).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 3));
    auto other = assignment(4);
    other.rootGeneration = 4;
    other.spec.manifest = Digest::of("another");
    EXPECT_FALSE((co_await supervisor->assign(other)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 4));
    EXPECT_EQ(runtime_.containers.at(id_).manifest, Digest::of("another").text());
    EXPECT_EQ(runtime_.containers.size(), 1U);
    // A blueprint that cannot be had leaves the old root where it is.
    blueprints_.failure = makeError(ErrorCode::kDataLoss, "damaged");
    other.generation = other.rootGeneration = 5;
    other.spec.manifest = Digest::of("damaged");
    EXPECT_FALSE((co_await supervisor->assign(other)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 5));
    EXPECT_EQ(last().reason, "blueprint_damaged");
    EXPECT_EQ(runtime_.containers.at(id_).generation, 4U);
    co_await supervisor->stop();
  }

  Task<void> archiveAndComeBack() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    // The control plane has no room: told, and nothing is lost. A start goes on as if nothing had been.
    archiver_.sendFailure = makeError(ErrorCode::kResourceExhausted, "full");
    EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kArchived))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 2));
    EXPECT_EQ(last().reason, "archive_failed");
    EXPECT_EQ(runtime_.containers.size(), 1U);
    EXPECT_FALSE((co_await supervisor->assign(assignment(3))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 3));
    EXPECT_EQ(archiver_.discards, 1) << "what was taken before it ran again is stale";

    archiver_.sendFailure.reset();
    EXPECT_FALSE((co_await supervisor->assign(assignment(4, DesiredState::kArchived))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 4));
    for (int i = 0; i < 500 && archiver_.sent.empty(); ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(archiver_.taken, (std::vector<std::uint64_t>{2, 4}));
    EXPECT_EQ(archiver_.sent, std::vector<std::uint64_t>{4});
    EXPECT_EQ(last().reason, "archiving");
    EXPECT_EQ(runtime_.containers.size(), 1U) << "kept until the control plane says so";

    // It has all: the host removes it, and gets it back before that was acknowledged.
    EXPECT_FALSE((co_await supervisor->assign(assignment(5, DesiredState::kDeleted))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kDeleted, 5));
    EXPECT_EQ(archiver_.discards, 2);
    EXPECT_TRUE(runtime_.containers.empty());
    auto back = assignment(6);
    back.rootGeneration = 6;
    back.spec.manifest = Digest::of("archived");
    EXPECT_FALSE((co_await supervisor->assign(back)).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 6));
    EXPECT_EQ(runtime_.containers.at(id_).manifest, Digest::of("archived").text());
    co_await supervisor->stop();
  }

  // "Done" is said of each wish once before it is done.
  Task<void> lyingRuntime() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    supervisor->linkUp();
    runtime_.lies = 1;
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1)) << "a container that was said to be there is made all the same";
    EXPECT_EQ(runtime_.creates, 1);
    EXPECT_FALSE((co_await supervisor->assign(assignment(2, DesiredState::kStopped))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 2));
    runtime_.lies = 1;
    EXPECT_FALSE((co_await supervisor->assign(assignment(3))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 3)) << "an old end is not taken for that of a run that never was";
    EXPECT_EQ(runtime_.starts, 2);
    runtime_.lies = 1;
    EXPECT_FALSE((co_await supervisor->assign(assignment(4, DesiredState::kDeleted))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kDeleted, 4));
    EXPECT_TRUE(runtime_.containers.empty()) << "deleted is told when it is gone";
    for (const auto& o : observations_) EXPECT_NE(o.state, SandboxState::kFailed) << o.message;
    // The record is forgotten, and an old message of the same link does not bring it back.
    supervisor->acknowledge(id_, last().sequence);
    for (int i = 0; i < 500 && !supervisor->versions().empty(); ++i) co_await sleepFor(Millis(2));
    const auto late = co_await supervisor->assign(assignment(3));
    EXPECT_EQ(late.refusal.value().reason, "stale_generation");
    EXPECT_TRUE(supervisor->versions().empty());
    // Over a new link it is the control plane's present will: its database may have been restored.
    supervisor->linkUp();
    EXPECT_FALSE((co_await supervisor->assign(assignment(3))).refusal);
    EXPECT_EQ(supervisor->versions().size(), 1U);
    co_await supervisor->stop();
  }

  Task<void> execWhileLooking() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    runtime_.answers = false;
    runtime_.touch(id_);
    co_await sleepFor(Millis(100));
    EXPECT_EQ(supervisor->runningCount(), 1U);
    const auto exec = co_await supervisor->startExec(id_, {{"true"}, {}, "", ""}, Deadline::after(Millis(1000)));
    EXPECT_EQ(exec.error().code, ErrorCode::kUnimplemented) << "it reached the guest: " << exec.error().describe();
    co_await supervisor->stop();
  }

  Task<void> workloadEnds() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    guest_->exitWorkload({3, 0, ""});
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 1));
    EXPECT_EQ(last().reason, "workload_exited");
    EXPECT_EQ(last().exit.value().code, 3);
    for (int i = 0; i < 1000 && runtime_.containers[id_].phase != ContainerPhase::kExited; ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(runtime_.containers[id_].phase, ContainerPhase::kExited);
    EXPECT_EQ(last().exit.value().code, 3);
    co_await supervisor->stop();
  }

  Task<void> noBlueprint() {
    blueprints_.failure = makeError(ErrorCode::kDataLoss, "bytes differ");
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 1));
    EXPECT_EQ(last().reason, "blueprint_damaged");
    EXPECT_EQ(runtime_.creates, 0);
    // A newer generation tries again.
    blueprints_.failure.reset();
    EXPECT_FALSE((co_await supervisor->assign(assignment(2))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 2));
    co_await supervisor->stop();
  }

  Task<void> noRoom() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    room_ = fail(makeError(ErrorCode::kResourceExhausted, "the disk is full").withReason("disk_full"));
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 1));
    EXPECT_EQ(last().reason, "disk_full");
    EXPECT_EQ(runtime_.creates, 0);
    room_ = {};
    EXPECT_FALSE((co_await supervisor->assign(assignment(2))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 2));
    // What is there already is stopped, started and deleted whatever the disk says.
    room_ = fail(makeError(ErrorCode::kResourceExhausted, "the disk is full").withReason("disk_full"));
    EXPECT_FALSE((co_await supervisor->assign(assignment(3, DesiredState::kStopped))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kStopped, 3));
    EXPECT_FALSE((co_await supervisor->assign(assignment(4))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 4));
    co_await supervisor->stop();
  }
};

TEST_F(SupervisorTest, CreatesStopsStartsAndDeletes) { runTask(loop_, createStopStartDelete()); }
TEST_F(SupervisorTest, MakesAFreshRootAndKeepsTheOldOneUntilItCan) { runTask(loop_, freshRoot()); }
TEST_F(SupervisorTest, ArchivesKeepsUntilToldAndTakesItBack) { runTask(loop_, archiveAndComeBack()); }
TEST_F(SupervisorTest, BelievesNoRuntimeThatSaysDone) { runTask(loop_, lyingRuntime()); }
TEST_F(SupervisorTest, RunsExecsWhileItLooksAgain) { runTask(loop_, execWhileLooking()); }
TEST_F(SupervisorTest, KeepsTheWorkloadsOwnExit) { runTask(loop_, workloadEnds()); }
TEST_F(SupervisorTest, FailsAGenerationAndTriesTheNext) { runTask(loop_, noBlueprint()); }
TEST_F(SupervisorTest, MakesNothingWithoutRoomAndKeepsWhatThereIs) { runTask(loop_, noRoom()); }

}  // namespace
}  // namespace gs

#include "agent/sandboxes/supervisor_fixture.h"

namespace gs {
namespace {

class SupervisorRecovery : public SupervisorFixture {
 public:
  Task<void> adoptAfterRestart() {
    auto first = makeSupervisor();
    EXPECT_TRUE(co_await first->recover());
    EXPECT_FALSE((co_await first->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    co_await first->stop();
    const auto sequence = last().sequence;
    observations_.clear();

    auto second = makeSupervisor();
    EXPECT_TRUE(co_await second->recover());
    for (int i = 0; i < 1000 && second->runningCount() == 0; ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(second->runningCount(), 1U);
    EXPECT_EQ(runtime_.creates, 1);
    EXPECT_EQ(runtime_.starts, 1);
    EXPECT_TRUE(observations_.empty()) << "nothing changed, so there is nothing new to tell";
    EXPECT_EQ(second->unacknowledged().at(0).sequence, sequence);
    co_await second->stop();
  }

  Task<void> silentRuntime() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    const auto count = observations_.size();
    runtime_.answers = false;
    (void)co_await supervisor->assign(assignment(1));
    // Make it look: a hint comes from the watch, and the engine does not answer the look.
    runtime_.end(id_, 137);
    co_await sleepFor(Millis(600));
    EXPECT_LE(observations_.size(), count + 1) << "only the repeat of what was unacknowledged";
    EXPECT_EQ(last().state, SandboxState::kRunning);
    runtime_.life = "engine-2";
    runtime_.answers = true;
    // The engine took the container along, so it is started again and not called dead.
    for (int i = 0; i < 3000 && runtime_.starts < 2; ++i) co_await sleepFor(Millis(2));
    EXPECT_EQ(runtime_.starts, 2);
    for (const auto& o : observations_) EXPECT_NE(o.state, SandboxState::kFailed);
    co_await supervisor->stop();
  }

  // The container ends while no agent is there and the engine does not answer; then the agent comes back, to this engine.
  Task<std::string> endUnseen(std::string engine) {
    auto first = makeSupervisor();
    EXPECT_TRUE(co_await first->recover());
    EXPECT_FALSE((co_await first->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    co_await first->stop();
    runtime_.answers = false;
    runtime_.end(id_, 137);
    observations_.clear();
    auto second = makeSupervisor();
    EXPECT_TRUE(co_await second->recover());
    co_await sleepFor(Millis(100));
    runtime_.life = std::move(engine);
    runtime_.answers = true;
    while (observations_.empty()) co_await heard_.waitUntil(Deadline::never());
    const auto reason = last().reason;
    co_await second->stop();
    co_return reason;
  }

  // The record was lost; the control plane has heard more of this generation than the new record has told.
  Task<void> countsOn() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    supervisor->acknowledge(id_, 40);
    while (last().sequence < 41) co_await heard_.waitUntil(Deadline::never());
    EXPECT_EQ(last().state, SandboxState::kRunning) << "the same, under a number that is heard";
    EXPECT_EQ(last().sequence, 41U);
    EXPECT_EQ(supervisor->unacknowledged().size(), 1U);
    EXPECT_EQ((co_await journal_.load())->front().observation.sequence, 41U) << "on disk before it is told";
    supervisor->acknowledge(id_, 41);
    EXPECT_TRUE(supervisor->unacknowledged().empty());
    co_await supervisor->stop();
  }

  Task<void> runScript(const char* script) {
    EXPECT_TRUE(co_await database_.run([script](Database& db) -> Status { return db.executeScript(script); }));
  }

  // The agent may die before it can write, and would then give the number to something else.
  Task<void> tellsOnlyWhatIsOnDisk() {
    auto supervisor = makeSupervisor();
    EXPECT_TRUE(co_await supervisor->recover());
    EXPECT_FALSE((co_await supervisor->assign(assignment(1))).refusal);
    EXPECT_TRUE(co_await waitFor(SandboxState::kRunning, 1));
    const auto told = last();
    co_await runScript("PRAGMA query_only = 1");
    guest_->exitWorkload({3, 0, ""});
    for (const auto deadline = Deadline::after(Millis(20'000)); supervisor->find(id_)->observation == told && !deadline.expired();) {
      co_await sleepFor(Millis(2));
    }
    EXPECT_GT(supervisor->find(id_)->observation.sequence, told.sequence);
    EXPECT_EQ(supervisor->findHeld(id_)->observation, told);
    EXPECT_EQ(supervisor->versions().at(0).sequence, told.sequence);
    EXPECT_EQ(last(), told);
    co_await runScript("PRAGMA query_only = 0");
    EXPECT_TRUE(co_await waitFor(SandboxState::kFailed, 1));
    EXPECT_EQ(supervisor->findHeld(id_)->observation, last());
    co_await supervisor->stop();
  }

  Task<void> olderVersionWrites() {
    SandboxRecord record;
    record.assignment = assignment(1);
    record.runGeneration = 1;
    record.runInstance = "engine-1";
    EXPECT_TRUE(co_await journal_.save(record));
    EXPECT_EQ((co_await journal_.load())->front(), record);
    // A version without additions writes the row's other columns and leaves those two as they are.
    auto after = record;
    after.failedGeneration = 1;
    after.runInstance.clear();
    EXPECT_TRUE(co_await database_.run([](Database& db) -> Status {
      GS_CHECK(db.executeScript("CREATE TABLE kept AS SELECT additions, additions_checksum FROM sandbox"));
      return {};
    }));
    EXPECT_TRUE(co_await journal_.save(after));
    EXPECT_TRUE(co_await database_.run([](Database& db) -> Status {
      GS_CHECK(db.executeScript("UPDATE sandbox SET additions = (SELECT additions FROM kept), "
                                "additions_checksum = (SELECT additions_checksum FROM kept)"));
      return {};
    }));
    const auto records = co_await journal_.load();
    EXPECT_EQ(records->size(), 1U) << "the row is not held to be damaged";
    EXPECT_EQ(records->front(), after) << "what was known of an earlier run does not count for a later one";
  }

  Task<void> remembersEndsAndRestarts() {
    SandboxRecord record;
    record.assignment = assignment(1);
    record.runGeneration = 1;
    record.endCause = ExitCause::kStopped;
    record.quickRestarts = 3;
    EXPECT_TRUE(co_await journal_.save(record));
    EXPECT_EQ((co_await journal_.load())->front(), record);
  }

  Task<void> quarantine() {
    SandboxRecord good;
    good.assignment = assignment(1);
    SandboxRecord bad = good;
    bad.assignment.sandboxId = SandboxId::make();
    EXPECT_TRUE(co_await journal_.save(good));
    EXPECT_TRUE(co_await journal_.save(bad));
    EXPECT_TRUE(co_await database_.run([id = bad.assignment.sandboxId.text()](Database& db) -> Status {
      GS_CHECK(db.execute("UPDATE sandbox SET run_generation = 99 WHERE sandbox_id = $1", {id}));
      return {};
    }));
    const auto records = co_await journal_.load();
    EXPECT_EQ(records->size(), 1U);
    EXPECT_EQ(records->front(), good);
    const auto kept = co_await database_.run([](Database& db) -> Result<std::int64_t> {
      GS_TRY(auto n, db.queryOne("SELECT count(*) FROM sandbox_quarantine", {}, [](const Row& r) { return r.integer(0); }));
      return n.value_or(0);
    });
    EXPECT_EQ(kept.value(), 1);
  }
};

TEST_F(SupervisorRecovery, AdoptsWhatRunsAfterARestart) { runTask(loop_, adoptAfterRestart()); }
TEST_F(SupervisorRecovery, CallsNothingDeadWhenTheRuntimeIsSilent) { runTask(loop_, silentRuntime()); }
TEST_F(SupervisorRecovery, StartsAgainWhatTheEngineTookAlongWhileNoAgentWasThere) {
  EXPECT_EQ(runTask(loop_, endUnseen("engine-2")), "runtime_restarted");
}
TEST_F(SupervisorRecovery, BeginsNoEndedRunAgainBecauseTheEngineDidNotAnswer) {
  EXPECT_EQ(runTask(loop_, endUnseen("engine-1")), "guest_lost");
  EXPECT_EQ(runtime_.starts, 1);
}
TEST_F(SupervisorRecovery, DistrustsAnAdditionThatAnOlderVersionLeftBehind) { runTask(loop_, olderVersionWrites()); }
TEST_F(SupervisorRecovery, TellsOnlyWhatIsOnDisk) { runTask(loop_, tellsOnlyWhatIsOnDisk()); }
TEST_F(SupervisorRecovery, CountsOnFromWhereTheControlPlaneHasHeard) { runTask(loop_, countsOn()); }
TEST_F(SupervisorRecovery, RemembersAnEndThatItBeganAndTheRestartsSoFar) { runTask(loop_, remembersEndsAndRestarts()); }
TEST_F(SupervisorRecovery, QuarantinesARowThatItCannotRead) { runTask(loop_, quarantine()); }

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include <utility>

#include <filesystem>

#include "agent/sandboxes/supervisor.h"
#include "async/channel.h"
#include "async/run_task.h"

namespace gs {
namespace {

// An engine in memory: containers with the phases that the real one has, and a switch that makes it stop answering.
class FakeRuntime final : public Runtime {
 public:
  explicit FakeRuntime(const Executor& executor) : changes_(executor, 100) {}

  bool answers = true;
  std::string life = "engine-1";
  int lies = 0;  // so many wishes are answered "done" and not done
  int creates = 0;
  int starts = 0;
  std::map<SandboxId, RuntimeContainer> containers;

  void end(const SandboxId& id, int code, bool oom = false) {
    auto& container = containers[id];
    container.phase = ContainerPhase::kExited;
    container.exitCode = code;
    container.oomKilled = oom;
    container.pid = 0;
    (void)changes_.tryPush(id);
  }

  std::size_t countRunning() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(containers, [](const auto& each) { return each.second.phase == ContainerPhase::kRunning; }));
  }

  // As an event of the engine's that tells nothing new: its "start" comes after the start was seen by looking.
  void touch(const SandboxId& id) { (void)changes_.tryPush(id); }

  std::string_view name() const override { return "docker"; }
  Result<std::string> instance() const override {
    if (!answers) return silent();
    return life;
  }
  Task<RuntimeReport> health(Deadline) override { co_return RuntimeReport{{"docker", RuntimeState::kHealthy, "", ""}, {}}; }
  Task<Status> create(ContainerPlan plan, Deadline) override {
    if (!answers) co_return silent();
    if (lie()) co_return Status();
    if (const auto found = containers.find(plan.sandboxId); found != containers.end() && found->second.generation != plan.generation) {
      co_return fail(makeError(ErrorCode::kAborted, "another generation's").withReason("generation_differs"));
    }
    ++creates;
    auto& container = containers[plan.sandboxId];
    container.sandboxId = plan.sandboxId;
    container.generation = plan.generation;
    container.manifest = plan.image.manifest.text();
    co_return Status();
  }
  Task<Status> start(SandboxId id, Deadline) override {
    if (!answers) co_return silent();
    if (lie()) co_return Status();
    if (!containers.contains(id)) co_return fail(ErrorCode::kNotFound, "no such container");
    ++starts;
    auto& container = containers[id];
    container.phase = ContainerPhase::kRunning;
    container.pid = 1000 + starts;
    container.startedAt = fromUnixMillis(1000 + starts);
    co_return Status();
  }
  Task<Status> stop(SandboxId id, Millis, Deadline) override {
    if (!answers) co_return silent();
    end(id, 0);
    co_return Status();
  }
  Task<Status> remove(SandboxId id, Deadline) override {
    if (!answers) co_return silent();
    if (lie()) co_return Status();
    containers.erase(id);
    co_return Status();
  }
  Task<Result<std::optional<RuntimeContainer>>> inspect(SandboxId id, Deadline) override {
    if (!answers) co_return silent();
    const auto found = containers.find(id);
    if (found == containers.end()) co_return std::optional<RuntimeContainer>();
    co_return std::optional(found->second);
  }
  Task<Result<std::vector<RuntimeContainer>>> list(HostId, Deadline) override {
    co_return std::vector<RuntimeContainer>();
  }
  Task<Result<std::unique_ptr<RuntimeWatch>>> watch(HostId, Deadline) override {
    if (!answers) co_return silent();
    co_return std::make_unique<Watch>(changes_);
  }

 private:
  struct Watch final : RuntimeWatch {
    explicit Watch(Channel<SandboxId>& c) : changes(c) {}
    Task<Result<SandboxId>> next() override {
      auto id = co_await changes.pop();
      if (!id) co_return fail(ErrorCode::kUnavailable, "closed");
      co_return *id;
    }
    Channel<SandboxId>& changes;
  };
  bool lie() { return lies > 0 && lies-- > 0; }
  static std::unexpected<Error> silent() { return fail(ErrorCode::kUnavailable, "the engine does not answer"); }

  Channel<SandboxId> changes_;
};

// A guest that is there as soon as the channel opens; tests set its state.
class FakeGuest final : public GuestChannel {
 public:
  explicit FakeGuest(const Executor& executor) : changed_(executor) { state_.connected = true; }

  void exitWorkload(ProcessExit exit) {
    state_.workload.phase = WorkloadState::Phase::kExited;
    state_.workload.exit = std::move(exit);
    bump();
  }
  void setExpectedPid(std::optional<pid_t>) override {}
  const GuestState& state() const override { return state_; }
  Task<GuestState> waitChange(std::uint64_t seen, Deadline deadline) override {
    while (state_.revision == seen && !closed_ && !deadline.expired()) co_await changed_.waitUntil(deadline);
    co_return state_;
  }
  Task<Status> waitConnected(Deadline) override { co_return Status(); }
  Task<Result<WorkloadState>> openGate(GateSpec spec, Deadline) override {
    state_.gateOpen = true;
    if (spec.workload && state_.workload.phase == WorkloadState::Phase::kNone) {
      state_.workload.phase = WorkloadState::Phase::kRunning;
    }
    bump();
    co_return state_.workload;
  }
  Task<Result<std::unique_ptr<GuestExec>>> startExec(ProcessSpec, Deadline) override {
    co_return fail(ErrorCode::kUnimplemented, "the fake runs nothing");
  }
  Task<Result<std::shared_ptr<GuestConnection>>> startFiles(Deadline) override {
    co_return fail(ErrorCode::kUnimplemented, "the fake has no files");
  }
  Task<Result<std::unique_ptr<GuestExec>>> attachSession(AttachSpec, Deadline) override {
    co_return fail(ErrorCode::kUnimplemented, "the fake runs nothing");
  }
  Task<Result<std::vector<SessionSummary>>> listSessions(Deadline) override { co_return std::vector<SessionSummary>(); }
  Task<Status> endSession(std::string, SessionClaim, Deadline) override {
    co_return fail(ErrorCode::kNotFound, "the fake runs nothing");
  }
  Task<Status> stopWorkload(Millis) override {
    exitWorkload({0, 15, ""});
    co_return Status();
  }
  Task<Result<ProcessExit>> waitWorkloadExit(Deadline) override { co_return state_.workload.exit; }
  Task<Result<std::chrono::microseconds>> ping(Deadline) override { co_return std::chrono::microseconds(1); }
  Task<void> close() override {
    closed_ = true;
    changed_.notifyAll();
    co_return;
  }

 private:
  void bump() {
    ++state_.revision;
    changed_.notifyAll();
  }
  GuestState state_;
  Event changed_;
  bool closed_ = false;
};

class FakeBlueprints final : public BlueprintProvider {
 public:
  std::optional<Error> failure;
  Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline) override {
    if (failure) co_return fail(*failure);
    CacheHandle handle;
    handle.runtime = "docker";
    handle.manifest = std::move(manifest);
    co_return handle;
  }
};

// Keeps what it is asked to take, and what was sent of it.
class FakeArchiver final : public SandboxArchiver {
 public:
  std::optional<Error> takeFailure;
  std::optional<Error> sendFailure;
  std::vector<std::uint64_t> taken;
  std::vector<std::uint64_t> sent;
  int discards = 0;
  Task<Status> takeLayer(SandboxId, std::uint64_t generation, Deadline) override {
    if (takeFailure) co_return fail(*takeFailure);
    taken.push_back(generation);
    co_return Status();
  }
  Task<Status> sendLayer(SandboxId, std::uint64_t generation, Deadline) override {
    if (sendFailure) co_return fail(*sendFailure);
    sent.push_back(generation);
    co_return Status();
  }
  Task<Status> discardLayer(SandboxId, Deadline) override {
    ++discards;
    co_return Status();
  }
};

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest()
      : runtime_(loop_.get_executor()),
        database_(migrated()),
        journal_(database_),
        id_(SandboxId::make()),
        heard_(loop_.get_executor()) {}

  static Database migrated() {
    auto database = Database::openInMemory().value();
    EXPECT_TRUE(migrate(database, std::vector<Migration>(std::begin(kJournalMigrations), std::end(kJournalMigrations))));
    return database;
  }

  std::unique_ptr<Supervisor> makeSupervisor() {
    SandboxParts parts{loop_.get_executor(), journal_,  runtime_, blueprints_, {}, clock_,
                       AgentPaths("/nonexistent", std::filesystem::temp_directory_path() / "gs-supervisor-test"),
                       HostId::make(), "boot-1", "/guest"};
    parts.checkRoom = [this] { return room_; };
    parts.linkDownFor = [this] { return linkDown_; };
    parts.fence = fence_;
    parts.archiver = &archiver_;
    parts.openGuestChannel = [this](const SandboxId&) -> Result<std::unique_ptr<GuestChannel>> {
      auto guest = std::make_unique<FakeGuest>(loop_.get_executor());
      guest_ = guest.get();
      return guest;
    };
    return std::make_unique<Supervisor>(std::move(parts), [this](const Observation& o) {
      observations_.push_back(o);
      heard_.notifyAll();
    });
  }

  Assignment assignment(std::uint64_t generation, DesiredState desired = DesiredState::kRunning) {
    Assignment a;
    a.sandboxId = id_;
    a.generation = generation;
    a.desired = desired;
    a.spec.manifest = Digest::of("m");
    a.spec.command = {"work"};
    return a;
  }

  // Waits for an observation of that state in that generation, made at any time.
  Task<bool> waitFor(SandboxState state, std::uint64_t generation) {
    const auto deadline = Deadline::after(Millis(5000));
    while (!deadline.expired()) {
      for (const auto& o : observations_) {
        if (o.state == state && o.generation == generation) co_return true;
      }
      co_await heard_.waitUntil(deadline);
    }
    co_return false;
  }
  const Observation& last() const { return observations_.back(); }

  asio::io_context loop_;
  SystemClock clock_;
  FakeRuntime runtime_;
  FakeArchiver archiver_;
  FakeBlueprints blueprints_;
  DatabaseThread database_;
  Journal journal_;
  SandboxId id_;
  FakeGuest* guest_ = nullptr;
  Status room_;
  std::optional<Millis> linkDown_;
  DeletionFenceLimits fence_;
  std::vector<Observation> observations_;
  Event heard_;

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

  Task<void> remembersEndsAndRestarts() {
    SandboxRecord record;
    record.assignment = assignment(1);
    record.runGeneration = 1;
    record.endCause = ExitCause::kStopped;
    record.quickRestarts = 3;
    EXPECT_TRUE(co_await journal_.save(record));
    EXPECT_EQ((co_await journal_.load())->front(), record);
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

TEST_F(SupervisorTest, CreatesStopsStartsAndDeletes) { runTask(loop_, createStopStartDelete()); }
TEST_F(SupervisorTest, MakesAFreshRootAndKeepsTheOldOneUntilItCan) { runTask(loop_, freshRoot()); }
TEST_F(SupervisorTest, ArchivesKeepsUntilToldAndTakesItBack) { runTask(loop_, archiveAndComeBack()); }
TEST_F(SupervisorTest, AdoptsWhatRunsAfterARestart) { runTask(loop_, adoptAfterRestart()); }
TEST_F(SupervisorTest, CallsNothingDeadWhenTheRuntimeIsSilent) { runTask(loop_, silentRuntime()); }
TEST_F(SupervisorTest, StartsAgainWhatTheEngineTookAlongWhileNoAgentWasThere) {
  EXPECT_EQ(runTask(loop_, endUnseen("engine-2")), "runtime_restarted");
}
TEST_F(SupervisorTest, BeginsNoEndedRunAgainBecauseTheEngineDidNotAnswer) {
  EXPECT_EQ(runTask(loop_, endUnseen("engine-1")), "guest_lost");
  EXPECT_EQ(runtime_.starts, 1);
}
TEST_F(SupervisorTest, DistrustsAnAdditionThatAnOlderVersionLeftBehind) { runTask(loop_, olderVersionWrites()); }
TEST_F(SupervisorTest, BelievesNoRuntimeThatSaysDone) { runTask(loop_, lyingRuntime()); }
TEST_F(SupervisorTest, TellsOnlyWhatIsOnDisk) { runTask(loop_, tellsOnlyWhatIsOnDisk()); }
TEST_F(SupervisorTest, CountsOnFromWhereTheControlPlaneHasHeard) { runTask(loop_, countsOn()); }
TEST_F(SupervisorTest, RunsExecsWhileItLooksAgain) { runTask(loop_, execWhileLooking()); }
TEST_F(SupervisorTest, KeepsTheWorkloadsOwnExit) { runTask(loop_, workloadEnds()); }
TEST_F(SupervisorTest, RestartsByThePolicyAndStopsWhenItIsUsedUp) { runTask(loop_, restartPolicy()); }
TEST_F(SupervisorTest, StopsWithoutAControlPlaneAndStartsWhenItIsBack) { runTask(loop_, stopWithoutAControlPlane()); }
TEST_F(SupervisorTest, AStopEndsTheWaitForARestart) { runTask(loop_, stopDuringTheWait()); }
TEST_F(SupervisorTest, RemembersAnEndThatItBeganAndTheRestartsSoFar) { runTask(loop_, remembersEndsAndRestarts()); }
TEST_F(SupervisorTest, FailsAGenerationAndTriesTheNext) { runTask(loop_, noBlueprint()); }
TEST_F(SupervisorTest, MakesNothingWithoutRoomAndKeepsWhatThereIs) { runTask(loop_, noRoom()); }
TEST_F(SupervisorTest, DoesNotHoldWhatItLetGoBefore) { runTask(loop_, releasedBefore()); }
TEST_F(SupervisorTest, HoldsAMassDeletionUntilExactlyItIsConfirmed) { runTask(loop_, massDeletion()); }
TEST_F(SupervisorTest, QuarantinesARowThatItCannotRead) { runTask(loop_, quarantine()); }

}  // namespace
}  // namespace gs

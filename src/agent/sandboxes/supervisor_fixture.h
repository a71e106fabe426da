// A supervisor on a runtime, guest, blueprints and archiver in memory, and a real journal.
#pragma once

#include <gtest/gtest.h>

#include <utility>

#include <filesystem>

#include "agent/sandboxes/supervisor.h"
#include "async/channel.h"
#include "async/run_task.h"

namespace gs {

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

class SupervisorFixture : public ::testing::Test {
 protected:
  SupervisorFixture()
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
};

}  // namespace gs

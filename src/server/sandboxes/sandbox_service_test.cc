#include "server/sandboxes/sandbox_service.h"

#include "server/store/store_fixture.h"

namespace gs {
namespace {

struct RecordingHub final : LinkHub {
  bool isConnected(const HostId&) const override { return true; }
  void sendAssignment(const HostId& host, const Assignment& assignment) override { sent.emplace_back(host, assignment); }
  void cut(const HostId&, std::uint16_t, std::string) override {}
  Task<Result<std::shared_ptr<WebSocket>>> takeChannel(HostId, Deadline) override {
    co_return fail(ErrorCode::kUnavailable, "none");
  }
  std::vector<std::pair<HostId, Assignment>> sent;
};

class SandboxServiceTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    events_ = std::make_unique<SandboxEvents>(loop_.get_executor());
    service_ = std::make_unique<SandboxService>(loop_.get_executor(), *store_, hub_, *events_, clock_);
    addBlueprint(acme_);
  }
  HostRecord addUsableHost(std::string name = "rack", RuntimeHealth docker = {"docker", RuntimeState::kHealthy, "", ""}) {
    auto host = addHost(acme_, std::move(name));
    host.facts.cpuCount = 4;
    host.facts.memoryBytes = 2ULL << 30;
    host.facts.runtimes = {std::move(docker)};
    connect(host);
    return host;
  }
  Result<SandboxRecord> create(SandboxWish wish = {}) {
    if (wish.blueprint.empty()) wish.blueprint = "debian";
    return run(service_->create(acme_, std::move(wish)));
  }

  RecordingHub hub_;
  std::unique_ptr<SandboxEvents> events_;
  std::unique_ptr<SandboxService> service_;
};

TEST_F(SandboxServiceTest, RecordsThenTellsTheHost) {
  const auto host = addUsableHost();
  SandboxWish wish;
  wish.command = {"sleep", "1"};
  const auto made = create(wish).value();
  EXPECT_EQ(made.state, SandboxState::kPlacing);
  EXPECT_TRUE(made.name.starts_with("debian-")) << made.name;
  ASSERT_EQ(hub_.sent.size(), 1U);
  EXPECT_EQ(hub_.sent[0].first, host.id);
  EXPECT_EQ(hub_.sent[0].second.spec, read(made).spec);
  EXPECT_EQ(hub_.sent[0].second.generation, 1U);
}

TEST_F(SandboxServiceTest, SaysWhyNoHostFitsAndRecordsNothing) {
  const auto empty = create();
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().reason, "no_host_fits");
  EXPECT_NE(empty.error().fix.find("enroll"), std::string::npos);
  const auto host = addUsableHost("rack", {"docker", RuntimeState::kUnhealthy, "", "dockerd does not answer"});
  const auto refused = create();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(refused.error().details,
            std::vector<std::string>{"/hosts/" + host.id.text() + ": runtime docker is unhealthy: dockerd does not answer"});
  EXPECT_TRUE(run(store_->listSandboxes(acme_.tenantId, {}, {})).value().items.empty());
  EXPECT_TRUE(hub_.sent.empty());
}

TEST_F(SandboxServiceTest, NamesTheMemberThatDoesNotExist) {
  addUsableHost();
  SandboxWish noBlueprint;
  noBlueprint.blueprint = "gone";
  SandboxWish noHost;
  noHost.host = HostId::make();
  SandboxWish noCluster;
  noCluster.cluster = ClusterId::make();
  const struct {
    const char* pointer;
    SandboxWish wish;
  } rows[] = {{"/blueprint: ", noBlueprint}, {"/hostId: ", noHost}, {"/clusterId: ", noCluster}};
  for (const auto& row : rows) {
    const auto result = create(row.wish);
    ASSERT_EQ(codeOf(result), ErrorCode::kNotFound) << row.pointer;
    EXPECT_TRUE(result.error().details.at(0).starts_with(row.pointer)) << result.error().details.at(0);
  }
}

TEST_F(SandboxServiceTest, RefusesAHostOfAnotherClusterAndTheRuntimeThatIsComing) {
  const auto host = addUsableHost();
  const ClusterRecord other{ClusterId::make(), acme_.tenantId, "other"};
  ASSERT_TRUE(run(store_->insertCluster(acme_, other)));
  SandboxWish elsewhere;
  elsewhere.host = host.id;
  elsewhere.cluster = other.id;
  EXPECT_EQ(create(elsewhere).error().reason, "other_cluster");
  SandboxWish sbx;
  sbx.runtime = "sbx";
  EXPECT_EQ(create(sbx).error().reason, "runtime_coming_soon");
}

TEST_F(SandboxServiceTest, DoesNotPromiseAHostsMemoryTwiceToConcurrentCreations) {
  addUsableHost();
  int made = 0;
  for (int i = 0; i < 3; ++i) {
    SandboxWish wish;
    wish.blueprint = "debian";
    wish.resources.memoryBytes = 1ULL << 30;
    asio::co_spawn(loop_, service_->create(acme_, wish), [&](std::exception_ptr, Result<SandboxRecord> result) {
      if (result) ++made;
    });
  }
  loop_.run();
  loop_.restart();
  EXPECT_EQ(made, 2) << "2 GiB hold two of 1 GiB";
}

TEST_F(SandboxServiceTest, WaitsUntilTheStateComesAndNotForAnEndThatIsPast) {
  addUsableHost();
  const auto made = create().value();
  observe(made, 1, 1, SandboxState::kFailed, "workload_exited");
  ASSERT_TRUE(run(service_->start(acme_, made.id)));
  std::optional<Result<SandboxRecord>> answer;
  asio::co_spawn(loop_,
                 service_->waitFor(acme_, made.id, {SandboxState::kRunning, SandboxState::kFailed},
                                   Deadline::after(std::chrono::seconds(30))),
                 [&](std::exception_ptr, Result<SandboxRecord> result) { answer = std::move(result); });
  Observation running;
  running.sandboxId = made.id;
  running.generation = 2;
  running.sequence = 3;
  running.state = SandboxState::kRunning;
  asio::co_spawn(loop_, store_->applyObservation(made.hostId, running),
                 [&](std::exception_ptr, Result<SandboxRecord>) { events_->notify(made.id); });
  loop_.run();
  loop_.restart();
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->state, SandboxState::kRunning) << "the failure before the start is no answer";
}

TEST_F(SandboxServiceTest, EndsWaitsWithTheRecordAsItIsOrTheServersStop) {
  addUsableHost();
  const auto made = create().value();
  const auto now = run(service_->waitFor(acme_, made.id, {SandboxState::kRunning}, Deadline::after(Millis(0))));
  EXPECT_EQ(now.value().state, SandboxState::kPlacing);
  service_->beginStop();
  EXPECT_EQ(codeOf(run(service_->waitFor(acme_, made.id, {SandboxState::kRunning}, Deadline::after(std::chrono::minutes(1))))),
            ErrorCode::kUnavailable);
  EXPECT_EQ(codeOf(run(service_->waitFor(acme_, SandboxId::make(), {}, Deadline::never()))), ErrorCode::kNotFound);
}

TEST_F(SandboxServiceTest, TellsTheHostEveryWish) {
  addUsableHost();
  const auto made = create().value();
  ASSERT_TRUE(run(service_->stop(acme_, made.id, Millis(5))));
  ASSERT_TRUE(run(service_->start(acme_, made.id)));
  ASSERT_TRUE(run(service_->remove(acme_, made.id)));
  ASSERT_EQ(hub_.sent.size(), 4U);
  EXPECT_EQ(hub_.sent[1].second.desired, DesiredState::kStopped);
  EXPECT_EQ(hub_.sent[1].second.stopGrace, Millis(5));
  EXPECT_EQ(hub_.sent[3].second.desired, DesiredState::kDeleted);
  EXPECT_EQ(hub_.sent[3].second.generation, 4U);
}

}  // namespace
}  // namespace gs

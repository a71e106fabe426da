#include "server/sandboxes/sandbox_service.h"

#include "server/sandboxes/waiting_room.h"
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
  std::vector<HeldSandbox> unknownSandboxes(const HostId&) const override { return {}; }
  Task<Result<std::uint32_t>> rejectDeletions(HostId, std::string, Deadline) override {
    co_return fail(ErrorCode::kUnavailable, "none");
  }
  Task<Result<std::uint32_t>> confirmDeletions(HostId, std::string, Deadline) override {
    co_return fail(ErrorCode::kUnavailable, "none");
  }
  std::vector<std::pair<HostId, Assignment>> sent;
};

struct ListedReports final : HostReports {
  bool hasReported(const HostId& host) const override { return hosts.contains(host); }
  std::set<HostId> hosts;
};

class SandboxServiceTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    events_ = std::make_unique<SandboxEvents>(loop_.get_executor());
    service_ = std::make_unique<SandboxService>(*store_, hub_, *events_, clock_);
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
  ListedReports reports_;
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

TEST_F(SandboxServiceTest, TellsTheHostWhatItHasToldShouldItHaveLostItsMemory) {
  addUsableHost();
  const auto made = create().value();
  EXPECT_FALSE(hub_.sent.at(0).second.known) << "nothing was heard of it";
  observe(made, 1, 5, SandboxState::kStarting);
  ASSERT_TRUE(run(service_->start(acme_, made.id))) << "a repeat, told again";
  const auto& known = hub_.sent.at(1).second.known;
  ASSERT_TRUE(known);
  EXPECT_EQ(known->sequence, 5U);
  EXPECT_EQ(known->generation, 1U);
  EXPECT_EQ(known->state, SandboxState::kStarting);
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
  int ended = 0;
  for (int i = 0; i < 3; ++i) {
    SandboxWish wish;
    wish.blueprint = "debian";
    wish.resources.memoryBytes = 1ULL << 30;
    asio::co_spawn(loop_, service_->create(acme_, wish), [&](std::exception_ptr, Result<SandboxRecord> result) {
      if (result) {
        ++made;
      } else {
        EXPECT_EQ(result.error().reason, "no_host_fits") << result.error().describe();
      }
      ++ended;
    });
  }
  runUntil([&] { return ended == 3; });
  EXPECT_EQ(made, 2) << "2 GiB hold two of 1 GiB";
}

TEST_F(SandboxServiceTest, ExplainsBeforehandWithoutRecordingAnything) {
  const auto host = addUsableHost();
  const auto other = addUsableHost("other");
  ASSERT_TRUE(run(store_->updateHost(acme_, other.id, {{}, {}, true}, other.version)));
  SandboxWish wish;
  wish.blueprint = "debian";
  auto report = run(service_->explain(acme_, wish)).value();
  EXPECT_EQ(report.chosen, host.id);
  ASSERT_EQ(report.hosts.size(), 2U);
  EXPECT_FALSE(report.hosts[0].rejection);
  EXPECT_EQ(report.hosts[1].rejection->reason, RejectionReason::kCordoned);
  wish.resources.memoryBytes = 1ULL << 40;
  report = run(service_->explain(acme_, wish)).value();
  EXPECT_FALSE(report.chosen);
  EXPECT_FALSE(report.fix.empty());
  EXPECT_TRUE(run(store_->listSandboxes(acme_.tenantId, {}, {})).value().items.empty());
}

TEST_F(SandboxServiceTest, DrainsAHostAndTellsIt) {
  const auto host = addUsableHost();
  const auto first = create().value();
  const auto second = create().value();
  ASSERT_TRUE(run(service_->stop(acme_, second.id, Millis(1))));
  hub_.sent.clear();
  EXPECT_TRUE(run(service_->drain(acme_, host.id, Millis(7))).value().cordoned);
  ASSERT_EQ(hub_.sent.size(), 1U) << "the one that was to run";
  EXPECT_EQ(hub_.sent[0].second.sandboxId, first.id);
  EXPECT_EQ(hub_.sent[0].second.desired, DesiredState::kStopped);
  EXPECT_EQ(hub_.sent[0].second.stopGrace, Millis(7));
  EXPECT_EQ(create().error().reason, "no_host_fits");
  ASSERT_TRUE(run(service_->start(acme_, first.id))) << "what is there may be started";
  EXPECT_EQ(run(service_->drain(acme_, host.id, Millis(7))).value().version, 2) << "cordoned once";
  EXPECT_EQ(hub_.sent.size(), 3U);
  EXPECT_EQ(codeOf(run(service_->drain(acme_, HostId::make(), Millis(7)))), ErrorCode::kNotFound);
}

TEST_F(SandboxServiceTest, LeavesAHostAloneThatKeepsFailingUntilAProbeSucceeds) {
  const auto host = addUsableHost();
  SandboxWish small;
  small.resources.memoryBytes = 16 << 20;
  small.blueprint = "debian";
  for (int n = 0; n < 3; ++n) {
    const auto made = create(small).value();
    observe(made, 1, 1, SandboxState::kFailed, "runtime_error");
    clock_.advance(Millis(1));
  }
  EXPECT_NE(create(small).error().details.at(0).find("creations failed"), std::string::npos);
  clock_.advance(kFirstRest);
  const auto probe = create(small).value();
  EXPECT_NE(create(small).error().details.at(0).find("being tried"), std::string::npos);
  observe(probe, 1, 1, SandboxState::kFailed, "guest_lost");
  clock_.advance(kFirstRest);
  EXPECT_FALSE(create(small)) << "the second rest is longer";
  SandboxWish named = small;
  named.host = host.id;
  const auto asked = create(named).value();
  observe(asked, 1, 1, SandboxState::kRunning);
  EXPECT_TRUE(create(small)) << "a success ends it, whoever asked";
  EXPECT_EQ(run(store_->getHost(acme_.tenantId, host.id)).value().trial, HostTrial{});
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
  runUntil([&] { return answer.has_value(); });
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

TEST_F(SandboxServiceTest, ExplainsWhyOneWaitsAndPlacesItWhenAHostFits) {
  SandboxWish wish;
  wish.noHost = Store::Placing::NoHost::kWait;
  wish.resources.memoryBytes = 1ULL << 30;
  const auto made = create(wish).value();
  EXPECT_EQ(made.state, SandboxState::kRequested);
  EXPECT_TRUE(hub_.sent.empty());
  EXPECT_TRUE(run(service_->explainWaiting(made)).value().hosts.empty());
  EXPECT_EQ(run(service_->placeWaiting(made)).error().reason, "no_host_fits");
  const auto host = addUsableHost("small", {"docker", RuntimeState::kUnhealthy, "", "it does not answer"});
  const auto report = run(service_->explainWaiting(made)).value();
  ASSERT_EQ(report.hosts.size(), 1U);
  EXPECT_EQ(report.hosts[0].rejection->reason, RejectionReason::kRuntimeUnhealthy);
  const auto usable = addUsableHost("usable");
  EXPECT_EQ(run(service_->placeWaiting(made)).value().hostId, usable.id);
  ASSERT_EQ(hub_.sent.size(), 1U);
  EXPECT_EQ(hub_.sent[0].first, usable.id);
  EXPECT_EQ(hub_.sent[0].second.spec, made.spec);
  EXPECT_NE(host.id, usable.id);
}

TEST_F(SandboxServiceTest, TheWaitingRoomPlacesTheOldestThatFits) {
  SandboxWish wish;
  wish.noHost = Store::Placing::NoHost::kWait;
  wish.resources.memoryBytes = 64ULL << 30;
  ASSERT_TRUE(create(wish)) << "the first in the queue, and too large";
  wish.resources.memoryBytes = 2ULL << 30;
  clock_.advance(Millis(1));
  const auto second = create(wish).value();
  clock_.advance(Millis(1));
  const auto third = create(wish).value();
  WaitingRoom room(loop_.get_executor(), *store_, *service_, *events_, reports_, clock_);
  room.begin();
  addUsableHost();
  events_->notify({});
  runUntil([&] { return !hub_.sent.empty(); });
  EXPECT_EQ(hub_.sent[0].second.sandboxId, second.id);
  EXPECT_EQ(read(third).state, SandboxState::kRequested) << "the host is full";
  run(room.stop());
}

TEST_F(SandboxServiceTest, TheWaitingRoomAsksTheHostsFirstAboutWhatWaitedBeforeTheStart) {
  SandboxWish wish;
  wish.noHost = Store::Placing::NoHost::kWait;
  const auto before = create(wish).value();
  const auto silent = addUsableHost("silent");
  const auto usable = addUsableHost("usable");
  reports_.hosts.insert(usable.id);
  clock_.advance(Millis(1));
  WaitingRoom room(loop_.get_executor(), *store_, *service_, *events_, reports_, clock_);
  room.begin();
  auto late = create(SandboxWish{}).value();
  EXPECT_FALSE(late.hostId.empty()) << "what is new cannot be anywhere";
  hub_.sent.clear();
  events_->notify({});
  runUntil([&] { return room.rounds() >= 2; });
  EXPECT_EQ(read(before).state, SandboxState::kRequested);
  reports_.hosts.insert(silent.id);
  events_->notify({});
  runUntil([&] { return !hub_.sent.empty(); });
  EXPECT_EQ(hub_.sent[0].second.sandboxId, before.id);
  run(room.stop());
}

TEST_F(SandboxServiceTest, TheWaitingRoomGivesHostsThatAreGoneOnlySoMuchTime) {
  SandboxWish wish;
  wish.noHost = Store::Placing::NoHost::kWait;
  const auto before = create(wish).value();
  addUsableHost();
  clock_.advance(Millis(1));
  WaitingRoom room(loop_.get_executor(), *store_, *service_, *events_, reports_, clock_, {Seconds(45)});
  room.begin();
  runUntil([&] { return room.rounds() >= 1; });
  EXPECT_EQ(read(before).state, SandboxState::kRequested);
  clock_.advance(Seconds(45));
  events_->notify({});
  runUntil([&] { return !hub_.sent.empty(); });
  EXPECT_EQ(hub_.sent[0].second.sandboxId, before.id);
  run(room.stop());
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

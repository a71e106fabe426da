#include "server/store/store_fixture.h"

namespace gs {
namespace {

using NoHost = Store::Placing::NoHost;

class WaitingStore : public StoreTest {
 protected:
  // Fits the first host, if there is any.
  static Result<std::size_t> first(const std::vector<HostLoad>& hosts) {
    if (!hosts.empty()) return 0;
    return fail(makeError(ErrorCode::kFailedPrecondition, "the cluster has no hosts").withReason("no_host_fits"));
  }
  Store::Placing placing(const Actor& actor, NoHost noHost = NoHost::kWait) {
    Store::Placing out;
    out.hosts.cluster = defaultCluster(actor);
    out.choose = first;
    out.noHost = noHost;
    return out;
  }
  SandboxRecord draft(const Actor& actor, const BlueprintRecord& blueprint, std::string name) {
    clock_.advance(Millis(1));
    return sandboxOn(actor, HostRecord{}, blueprint, std::move(name));
  }
  Result<SandboxRecord> create(const Actor& actor, const BlueprintRecord& blueprint, std::string name) {
    return run(store_->placeSandbox(actor, draft(actor, blueprint, std::move(name)), placing(actor)));
  }
  std::vector<std::string> waiting() {
    std::vector<std::string> out;
    for (const auto& each : run(store_->listWaiting()).value()) out.push_back(each.name);
    return out;
  }
  std::vector<std::string> kinds(const SandboxRecord& s) {
    std::vector<std::string> out;
    for (const auto& event : run(store_->listSandboxEvents(s.tenantId, {s.id})).value().items) {
      out.emplace_back(sandboxEventKindName(event.kind));
    }
    return out;
  }
};

TEST_F(WaitingStore, KeepsOneThatMayWaitAndRefusesOneThatMayNot) {
  const auto blueprint = addBlueprint(acme_);
  EXPECT_EQ(run(store_->placeSandbox(acme_, draft(acme_, blueprint, "no"), placing(acme_, NoHost::kRefuse))).error().reason,
            "no_host_fits");
  const auto made = create(acme_, blueprint, "yes").value();
  const auto stored = read(made);
  EXPECT_EQ(stored.state, SandboxState::kRequested);
  EXPECT_EQ(stored.reason, "no_host_fits");
  EXPECT_EQ(stored.message, "the cluster has no hosts");
  EXPECT_TRUE(stored.hostId.empty());
  EXPECT_EQ(codeOf(create(acme_, blueprint, "yes")), ErrorCode::kAlreadyExists) << "it holds its name";
  EXPECT_EQ(waiting(), std::vector<std::string>{"yes"});
}

TEST_F(WaitingStore, PlacesOnceAndTellsItAsAnEvent) {
  const auto blueprint = addBlueprint(acme_);
  const auto made = create(acme_, blueprint, "box").value();
  EXPECT_EQ(run(store_->placeWaiting(acme_.tenantId, made.id, placing(acme_))).error().reason, "no_host_fits");
  const auto host = addHost(acme_);
  connect(host);
  const auto placed = run(store_->placeWaiting(acme_.tenantId, made.id, placing(acme_))).value();
  EXPECT_EQ(placed.state, SandboxState::kPlacing);
  EXPECT_EQ(placed.reason, "pending_placement");
  EXPECT_EQ(placed.hostId, host.id);
  EXPECT_TRUE(waiting().empty());
  const auto again = run(store_->placeWaiting(acme_.tenantId, made.id, placing(acme_))).value();
  EXPECT_EQ(again.version, placed.version) << "a repeat changes nothing";
  EXPECT_EQ(kinds(made), (std::vector<std::string>{"created", "placed"}));
  EXPECT_EQ(run(store_->sandboxesOnHost(host.id)).value().size(), 1U);
  EXPECT_EQ(observe(placed, 1, 1, SandboxState::kRunning).state, SandboxState::kRunning);
  EXPECT_EQ(codeOf(run(store_->placeWaiting(addTenant("globex").tenantId, made.id, placing(acme_)))), ErrorCode::kNotFound);
}

TEST_F(WaitingStore, TakesEveryWishWithoutAHost) {
  const auto blueprint = addBlueprint(acme_);
  const auto made = create(acme_, blueprint, "box").value();
  const auto wish = [&](DesiredState desired) { return run(store_->setDesired(acme_, made.id, desired, Millis(0))); };
  EXPECT_EQ(wish(DesiredState::kRunning).value().generation, 1) << "it waits already";
  const auto stopped = wish(DesiredState::kStopped).value();
  EXPECT_EQ(stopped.state, SandboxState::kStopped);
  EXPECT_EQ(stopped.reason, "stopped_by_user");
  EXPECT_EQ(stopped.observedGeneration, stopped.generation) << "so that a wait for it ends";
  EXPECT_TRUE(waiting().empty());
  EXPECT_EQ(wish(DesiredState::kStopped).value().generation, stopped.generation);
  EXPECT_EQ(codeOf(wish(DesiredState::kArchived)), ErrorCode::kFailedPrecondition);
  const auto started = wish(DesiredState::kRunning).value();
  EXPECT_EQ(started.state, SandboxState::kRequested);
  EXPECT_EQ(started.reason, "no_host_fits");
  EXPECT_EQ(waiting(), std::vector<std::string>{"box"});
  EXPECT_EQ(wish(DesiredState::kDeleted).value().state, SandboxState::kDeleted);
  EXPECT_EQ(codeOf(wish(DesiredState::kDeleted)), ErrorCode::kNotFound);
  EXPECT_EQ(kinds(made), (std::vector<std::string>{"created", "stop_requested", "start_requested", "deleted"}));
  EXPECT_TRUE(create(acme_, blueprint, "box")) << "the name is free";
}

TEST_F(WaitingStore, GivesTheOldestFirstOfAllTenants) {
  const auto blueprint = addBlueprint(acme_);
  const auto globex = addTenant("globex");
  const auto other = addBlueprint(globex, "other");
  ASSERT_TRUE(create(acme_, blueprint, "a"));
  ASSERT_TRUE(create(globex, other, "b"));
  ASSERT_TRUE(create(acme_, blueprint, "c"));
  EXPECT_EQ(waiting(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(WaitingStore, BoundsHowManyWait) {
  const auto blueprint = addBlueprint(acme_);
  for (std::int64_t n = 0; n < Store::kMaxWaiting; ++n) ASSERT_TRUE(create(acme_, blueprint, fmt::format("box-{}", n)));
  EXPECT_EQ(create(acme_, blueprint, "more").error().reason, "too_many_waiting");
  const auto globex = addTenant("globex");
  EXPECT_TRUE(create(globex, addBlueprint(globex, "other"), "box")) << "each tenant for itself";
}

TEST_F(WaitingStore, KeepsTheClusterThatOneWaitsIn) {
  const ClusterRecord cluster{ClusterId::make(), acme_.tenantId, "gpu"};
  ASSERT_TRUE(run(store_->insertCluster(acme_, cluster)));
  auto place = placing(acme_);
  place.hosts.cluster = cluster.id;
  const auto made = run(store_->placeSandbox(acme_, draft(acme_, addBlueprint(acme_), "box"), place)).value();
  EXPECT_EQ(read(made).clusterId, cluster.id);
  EXPECT_EQ(codeOf(run(store_->deleteCluster(acme_, cluster.id))), ErrorCode::kFailedPrecondition);
  ASSERT_TRUE(run(store_->setDesired(acme_, made.id, DesiredState::kDeleted, Millis(0))));
  ASSERT_TRUE(run(store_->deleteCluster(acme_, cluster.id)));
  EXPECT_EQ(codeOf(run(store_->placeSandbox(acme_, draft(acme_, addBlueprint(acme_, "late"), "late"), place))), ErrorCode::kNotFound);
}

TEST_F(WaitingStore, JudgesAHostByWhenItGotTheSandbox) {
  const auto blueprint = addBlueprint(acme_);
  const auto made = create(acme_, blueprint, "old").value();
  const auto host = addHost(acme_);
  connect(host);
  for (int n = 0; n < 3; ++n) {
    const auto failing = create(acme_, blueprint, fmt::format("failing-{}", n)).value();
    observe(failing, 1, 1, SandboxState::kFailed, "runtime_error");
  }
  clock_.advance(kFirstRest);
  const auto placed = run(store_->placeWaiting(acme_.tenantId, made.id, placing(acme_))).value();
  const auto loads = run(store_->hostLoads(acme_.tenantId, {defaultCluster(acme_), {}, {}})).value();
  EXPECT_TRUE(loads.at(0).beingTried) << "it was created before the rest began, but placed after it";
  observe(placed, 1, 1, SandboxState::kFailed, "runtime_error");
  EXPECT_EQ(run(store_->getHost(acme_.tenantId, host.id)).value().trial.failures, 4) << "the probe counts";
}

}  // namespace
}  // namespace gs

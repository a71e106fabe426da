#include "server/store/store_fixture.h"

namespace gs {
namespace {

class RecoveryStore : public StoreTest {
 protected:
  using Recovery = Store::Recovery;
  static Assignment heldOf(const SandboxRecord& s, std::uint64_t generation, DesiredState desired) {
    Assignment held;
    held.sandboxId = s.id;
    held.generation = generation;
    held.desired = desired;
    held.spec = s.spec;
    held.stopGrace = Millis(5000);
    return held;
  }
  Recovery::Verdict recover(const HostId& host, const Assignment& held, std::optional<Observation> seen = {}) {
    recovered_ = run(store_->recoverWish(host, {held, std::move(seen)})).value();
    return recovered_.verdict;
  }
  // As a host says it of one that has started there.
  Observation ranOf(const SandboxRecord& s, std::uint64_t generation) {
    Observation seen;
    seen.sandboxId = s.id;
    seen.generation = generation;
    seen.sequence = 9;
    seen.state = SandboxState::kRunning;
    seen.observedAt = now();
    seen.startedAt = now();
    return seen;
  }
  SandboxRecord waiting(const std::string& name = "box") {
    Store::Placing placing;
    placing.hosts.cluster = defaultCluster(acme_);
    placing.choose = [](const auto&) -> Result<std::size_t> {
      return fail(makeError(ErrorCode::kFailedPrecondition, "none").withReason("no_host_fits"));
    };
    placing.noHost = Store::Placing::NoHost::kWait;
    return run(store_->placeSandbox(acme_, sandboxOn(acme_, HostRecord{}, addBlueprint(acme_, name), name), placing)).value();
  }
  SandboxRecord placeOn(const SandboxRecord& s, const HostRecord& host) {
    clock_.advance(Millis(1));
    Store::Placing placing;
    placing.hosts = {defaultCluster(acme_), host.id, {}};
    placing.choose = [](const auto&) -> Result<std::size_t> { return 0; };
    return run(store_->placeWaiting(acme_.tenantId, s.id, placing)).value();
  }

  Recovery recovered_;
};

using Verdict = Store::Recovery::Verdict;

TEST_F(RecoveryStore, TakesOverTheWishThatADatabaseFromABackupHasLost) {
  const auto s = addSandbox(acme_);
  EXPECT_EQ(recover(s.hostId, heldOf(s, 1, DesiredState::kStopped)), Verdict::kNothingNew) << "not newer";
  EXPECT_EQ(read(s).desired, DesiredState::kRunning);
  auto held = heldOf(s, 7, DesiredState::kStopped);
  held.rootGeneration = 5;
  EXPECT_EQ(recover(s.hostId, held), Verdict::kRecovered);
  EXPECT_EQ(recover(s.hostId, held), Verdict::kNothingNew) << "a repeat";
  const auto now = read(s);
  EXPECT_EQ(now.generation, 7);
  EXPECT_EQ(now.desired, DesiredState::kStopped);
  EXPECT_EQ(now.stopGrace, Millis(5000));
  EXPECT_EQ(now.rootGeneration, 5);
  EXPECT_EQ(now.version, s.version + 1);
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0)))->generation, 8) << "the next wish is the newest";
  EXPECT_EQ(std::ranges::count(auditActions(acme_), "sandbox.recover"), 1);
}

TEST_F(RecoveryStore, TakesTheBlueprintOverWhenItIsThere) {
  const auto s = addSandbox(acme_);
  auto other = addBlueprint(acme_, "other");
  auto held = heldOf(s, 3, DesiredState::kRunning);
  held.spec.manifest = Digest::of("not imported again");
  EXPECT_EQ(recover(s.hostId, held), Verdict::kRecovered);
  EXPECT_EQ(read(s).spec.manifest, s.spec.manifest);
  held.generation = 4;
  held.spec.manifest = other.manifestDigest;
  EXPECT_EQ(recover(s.hostId, held), Verdict::kRecovered);
  EXPECT_EQ(read(s).spec.manifest, other.manifestDigest);
}

TEST_F(RecoveryStore, KnowsNothingOfWhatIsOnAnotherHost) {
  const auto s = addSandbox(acme_);
  const auto elsewhere = addHost(acme_, "elsewhere");
  EXPECT_EQ(recover(elsewhere.id, heldOf(s, 9, DesiredState::kDeleted)), Verdict::kUnknown);
  EXPECT_EQ(read(s).generation, 1);
  EXPECT_EQ(read(s).desired, DesiredState::kRunning);
}

TEST_F(RecoveryStore, GivesOneThatWaitsToTheHostThatHasIt) {
  const auto s = waiting();
  const auto host = addHost(acme_);
  connect(host);
  const auto globex = addTenant("globex");
  EXPECT_EQ(recover(addHost(globex, "theirs").id, heldOf(s, 5, DesiredState::kRunning), ranOf(s, 5)), Verdict::kUnknown)
      << "of another tenant";
  auto held = heldOf(s, 5, DesiredState::kStopped);
  held.rootGeneration = 4;
  EXPECT_EQ(recover(host.id, held), Verdict::kClaimed);
  EXPECT_TRUE(recovered_.before.empty());
  const auto now = read(s);
  EXPECT_EQ(now.hostId, host.id);
  EXPECT_EQ(now.desired, DesiredState::kStopped) << "the host knows the later wish";
  EXPECT_EQ(now.generation, 6);
  EXPECT_EQ(now.rootGeneration, 4) << "what it has is kept";
  EXPECT_EQ(now.state, SandboxState::kPlacing);
  EXPECT_EQ(recovered_.record.generation, 6);
  EXPECT_EQ(recover(host.id, held), Verdict::kNothingNew) << "a repeat";
  EXPECT_EQ(auditActions(acme_).front(), "sandbox.claim");
  const auto second = addHost(acme_, "second");
  EXPECT_EQ(recover(second.id, heldOf(s, 9, DesiredState::kRunning), ranOf(s, 9)), Verdict::kYields) << "two hosts cannot have it";
  EXPECT_EQ(read(s).hostId, host.id);
}

TEST_F(RecoveryStore, KeepsTheWishThatCameAfterTheRestoration) {
  const auto s = waiting();
  const auto host = addHost(acme_);
  connect(host);
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(7))));
  EXPECT_EQ(recover(host.id, heldOf(s, 2, DesiredState::kRunning), ranOf(s, 2)), Verdict::kClaimed);
  const auto now = read(s);
  EXPECT_EQ(now.desired, DesiredState::kStopped);
  EXPECT_EQ(now.generation, 3);
}

TEST_F(RecoveryStore, GivesOneThatWasPlacedMeanwhileBackToTheHostWhereItLived) {
  const auto s = waiting();
  const auto first = addHost(acme_, "first");
  const auto fresh = addHost(acme_, "fresh");
  const auto never = addHost(acme_, "never");
  for (const auto& each : {first, fresh, never}) connect(each);
  const auto placed = placeOn(s, fresh);
  ASSERT_EQ(placed.hostId, fresh.id);
  observe(placed, 1, 3, SandboxState::kRunning);
  EXPECT_EQ(recover(never.id, heldOf(s, 1, DesiredState::kRunning)), Verdict::kYields) << "it never started there";
  EXPECT_EQ(read(s).hostId, fresh.id);
  EXPECT_EQ(recover(first.id, heldOf(s, 1, DesiredState::kRunning), ranOf(s, 1)), Verdict::kClaimed);
  EXPECT_EQ(recovered_.before, fresh.id);
  ASSERT_TRUE(run(store_->applyObservation(first.id, ranOf(s, 1))));
  const auto now = read(s);
  EXPECT_EQ(now.hostId, first.id);
  EXPECT_EQ(now.state, SandboxState::kRunning);
  EXPECT_EQ(now.sequence, 9) << "the count of the other host is forgotten";
  EXPECT_EQ(recover(fresh.id, heldOf(s, 1, DesiredState::kRunning), ranOf(s, 1)), Verdict::kYields) << "decided once";
  EXPECT_EQ(read(s).hostId, first.id);
}

TEST_F(RecoveryStore, GivesNothingToAHostThatMayHaveBeenToldOfItByThisDatabase) {
  const auto s = addSandbox(acme_);
  const auto elsewhere = addHost(acme_, "elsewhere");
  EXPECT_EQ(recover(elsewhere.id, heldOf(s, 9, DesiredState::kRunning), ranOf(s, 9)), Verdict::kUnknown);
  const auto going = waiting("going");
  const auto host = addHost(acme_, "host");
  connect(host);
  placeOn(going, host);
  ASSERT_TRUE(run(store_->setDesired(acme_, going.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(recover(elsewhere.id, heldOf(going, 1, DesiredState::kRunning), ranOf(going, 1)), Verdict::kUnknown)
      << "a deletion that was wished for one is not carried out on another";
}

TEST_F(RecoveryStore, AdoptsWithWhatTheHostHasSeen) {
  const auto host = addHost(acme_);
  connect(host);
  auto s = sandboxOn(acme_, host, addBlueprint(acme_), "found");
  s.generation = 4;
  s.rootGeneration = 2;
  s.state = SandboxState::kStopped;
  s.desired = DesiredState::kStopped;
  s.observedGeneration = 3;
  s.sequence = 17;
  s.exit = ExitInfo{3, 0, false, now()};
  ASSERT_TRUE(run(store_->adoptSandbox(acme_, s)));
  const auto now = read(s);
  EXPECT_EQ(now.state, SandboxState::kStopped);
  EXPECT_EQ(now.generation, 4);
  EXPECT_EQ(now.observedGeneration, 3);
  EXPECT_EQ(now.sequence, 17);
  EXPECT_EQ(now.rootGeneration, 2);
  EXPECT_EQ(now.exit.value().code, 3);
  EXPECT_EQ(auditActions(acme_).front(), "sandbox.adopt");
  EXPECT_EQ(run(store_->adoptSandbox(acme_, s)).error().reason, "sandbox_known");
  s.id = SandboxId::make();
  const auto taken = run(store_->adoptSandbox(acme_, s));
  EXPECT_EQ(taken.error().code, ErrorCode::kAlreadyExists);
  EXPECT_NE(taken.error().reason, "sandbox_known");
}

}  // namespace
}  // namespace gs

#include "server/store/store_fixture.h"

namespace gs {
namespace {

class DeadlineStore : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    host_ = addHost(acme_);
    connect(host_);
    blueprint_ = addBlueprint(acme_);
  }
  SandboxRecord add(std::string name, std::optional<Seconds> ttl, Seconds idle) {
    auto s = sandboxOn(acme_, host_, blueprint_, std::move(name));
    if (ttl) s.expiresAt = now() + *ttl;
    s.idleStop = idle;
    EXPECT_TRUE(run(store_->insertSandbox(acme_, s)).has_value());
    return s;
  }
  Store::DeadlineSweep sweep(std::vector<SandboxId> inUse = {}) { return run(store_->actOnDeadlines(std::move(inUse))).value(); }
  AuditRecord lastAudit() { return run(store_->listAudit(acme_.tenantId, {})).value().items.front(); }

  HostRecord host_;
  BlueprintRecord blueprint_;
};

TEST_F(DeadlineStore, DeletesWhatHasExpiredOnceAndByTheSystem) {
  const auto s = add("brief", Seconds(60), Seconds(0));
  add("other", Seconds(600), Seconds(0));
  clock_.advance(Millis(59'999));
  auto found = sweep();
  EXPECT_TRUE(found.changed.empty());
  EXPECT_EQ(found.next, now() + Millis(1));
  clock_.advance(Millis(1));
  found = sweep();
  ASSERT_EQ(found.changed.size(), 1U);
  EXPECT_EQ(found.changed.front().desired, DesiredState::kDeleted);
  EXPECT_EQ(found.changed.front().generation, 2);
  EXPECT_EQ(found.next, now() + Seconds(540)) << "what is being deleted waits for nothing";
  EXPECT_EQ(read(s).reason, "expired");
  EXPECT_EQ(lastAudit().actor, kTtlActor);
  EXPECT_EQ(lastAudit().action, "sandbox.delete");
  EXPECT_TRUE(sweep().changed.empty()) << "a repeat after a crash finds nothing to do";
  EXPECT_EQ(read(s).generation, 2);
}

TEST_F(DeadlineStore, StopsWhatIsIdleAndTellsWhy) {
  const auto s = add("quiet", std::nullopt, Seconds(60));
  clock_.advance(Seconds(120));
  EXPECT_TRUE(sweep().changed.empty()) << "it does not run yet: a long provisioning is no idling";
  observe(s, 1, 1, SandboxState::kRunning);
  EXPECT_EQ(sweep().next, now() + Seconds(60));
  clock_.advance(Seconds(60));
  ASSERT_EQ(sweep().changed.size(), 1U);
  const auto stopping = read(s);
  EXPECT_EQ(stopping.desired, DesiredState::kStopped);
  EXPECT_EQ(stopping.desiredBy, kIdleActor);
  const auto stopped = observe(s, 2, 2, SandboxState::kStopped, "stopped_by_user");
  EXPECT_EQ(stopped.reason, "idle_stopped");
  EXPECT_FALSE(sweep().next);
  // Started again by a person, it has its time anew.
  EXPECT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))));
  observe(s, 3, 3, SandboxState::kRunning);
  clock_.advance(Seconds(59));
  EXPECT_TRUE(sweep().changed.empty());
}

TEST_F(DeadlineStore, ASessionKeepsASandboxFromBeingIdle) {
  const auto s = add("used", std::nullopt, Seconds(60));
  observe(s, 1, 1, SandboxState::kRunning);
  clock_.advance(Seconds(300));
  EXPECT_TRUE(sweep({s.id}).changed.empty()) << "one is open";
  clock_.advance(Seconds(59));
  EXPECT_TRUE(sweep().changed.empty()) << "it was open a moment ago, even if its end was never noted";
  EXPECT_TRUE(run(store_->noteActivity(s.id)));
  clock_.advance(Seconds(59));
  EXPECT_TRUE(sweep().changed.empty());
  clock_.advance(Seconds(1));
  EXPECT_EQ(sweep().changed.size(), 1U);
}

TEST_F(DeadlineStore, ARestartByThePolicyIsNoUse) {
  const auto s = add("flapping", std::nullopt, Seconds(60));
  observe(s, 1, 1, SandboxState::kRunning);
  clock_.advance(Seconds(59));
  observe(s, 1, 2, SandboxState::kStarting, "restart_backoff");
  Observation again;
  again.sandboxId = s.id;
  again.generation = 1;
  again.sequence = 3;
  again.state = SandboxState::kRunning;
  again.restarts = 1;
  EXPECT_TRUE(run(store_->applyObservation(s.hostId, again)));
  clock_.advance(Seconds(1));
  EXPECT_EQ(sweep().changed.size(), 1U);
}

TEST_F(DeadlineStore, OneWithoutAHostIsGoneAtOnce) {
  const auto s = add("stranded", Seconds(60), Seconds(0));
  EXPECT_TRUE(run(store_->removeHost(acme_, host_.id, Store::RemoveHost::kAlsoWithSandboxes)));
  clock_.advance(Seconds(60));
  const auto found = sweep();
  ASSERT_EQ(found.changed.size(), 1U);
  EXPECT_EQ(found.changed.front().state, SandboxState::kDeleted);
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, s.id))), ErrorCode::kNotFound);
}

TEST_F(DeadlineStore, AChangeOfTheLifetimeCountsFromNowAndIsAudited) {
  const auto s = add("longer", Seconds(60), Seconds(0));
  Store::Lifetime lifetime;
  lifetime.expiresAt.emplace(now() + Seconds(600));
  lifetime.idleStop = Seconds(90);
  const auto changed = run(store_->setLifetime(acme_, s.id, lifetime)).value();
  EXPECT_EQ(changed.expiresAt, now() + Seconds(600));
  EXPECT_EQ(read(s).idleStop, Seconds(90));
  EXPECT_EQ(changed.generation, 1) << "nothing is asked of the host";
  EXPECT_EQ(changed.version, 2);
  EXPECT_EQ(lastAudit().action, "sandbox.set_lifetime");
  clock_.advance(Seconds(60));
  EXPECT_TRUE(sweep().changed.empty());
  Store::Lifetime never;
  never.expiresAt.emplace(std::nullopt);
  EXPECT_FALSE(run(store_->setLifetime(acme_, s.id, never)).value().expiresAt);
  EXPECT_EQ(read(s).idleStop, Seconds(90)) << "what is not named stays";
  EXPECT_FALSE(sweep().next);
  EXPECT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(codeOf(run(store_->setLifetime(acme_, s.id, never))), ErrorCode::kFailedPrecondition);
  const auto globex = addTenant("globex");
  EXPECT_EQ(codeOf(run(store_->setLifetime(globex, s.id, never))), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gs

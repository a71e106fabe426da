#include "server/store/store_fixture.h"

namespace gs {
namespace {

class RecoveryStore : public StoreTest {
 protected:
  static Assignment heldOf(const SandboxRecord& s, std::uint64_t generation, DesiredState desired) {
    Assignment held;
    held.sandboxId = s.id;
    held.generation = generation;
    held.desired = desired;
    held.spec = s.spec;
    held.stopGrace = Millis(5000);
    return held;
  }
};

using Recovery = Store::WishRecovery;

TEST_F(RecoveryStore, TakesOverTheWishThatADatabaseFromABackupHasLost) {
  const auto s = addSandbox(acme_);
  EXPECT_EQ(run(store_->recoverWish(s.hostId, heldOf(s, 1, DesiredState::kStopped))), Recovery::kNothingNew) << "not newer";
  EXPECT_EQ(read(s).desired, DesiredState::kRunning);
  auto held = heldOf(s, 7, DesiredState::kStopped);
  held.rootGeneration = 5;
  EXPECT_EQ(run(store_->recoverWish(s.hostId, held)), Recovery::kRecovered);
  EXPECT_EQ(run(store_->recoverWish(s.hostId, held)), Recovery::kNothingNew) << "a repeat";
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
  EXPECT_EQ(run(store_->recoverWish(s.hostId, held)), Recovery::kRecovered);
  EXPECT_EQ(read(s).spec.manifest, s.spec.manifest);
  held.generation = 4;
  held.spec.manifest = other.manifestDigest;
  EXPECT_EQ(run(store_->recoverWish(s.hostId, held)), Recovery::kRecovered);
  EXPECT_EQ(read(s).spec.manifest, other.manifestDigest);
}

TEST_F(RecoveryStore, KnowsNothingOfWhatIsOnAnotherHost) {
  const auto s = addSandbox(acme_);
  const auto elsewhere = addHost(acme_, "elsewhere");
  EXPECT_EQ(run(store_->recoverWish(elsewhere.id, heldOf(s, 9, DesiredState::kDeleted))), Recovery::kUnknown);
  EXPECT_EQ(read(s).generation, 1);
  EXPECT_EQ(read(s).desired, DesiredState::kRunning);
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

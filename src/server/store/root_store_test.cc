#include "server/store/store_fixture.h"

namespace gs {
namespace {

using RootStore = StoreTest;

TEST_F(RootStore, EachFreshRootIsANewGenerationAndMayBeOfAnotherBlueprint) {
  const auto s = addSandbox(acme_);
  const auto same = run(store_->reprovision(acme_, s.id, {})).value();
  EXPECT_EQ(same.generation, 2);
  EXPECT_EQ(same.rootGeneration, 2);
  EXPECT_EQ(same.blueprintId, s.blueprintId);
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0))));
  const auto blueprint = addBlueprint(acme_, "another");
  const auto other = run(store_->reprovision(acme_, s.id, {.blueprint = blueprint, .stopGrace = Millis(7)})).value();
  EXPECT_EQ(other.generation, 4);
  EXPECT_EQ(other.rootGeneration, 4);
  EXPECT_EQ(other.desired, DesiredState::kRunning);
  EXPECT_EQ(other.stopGrace, Millis(7));
  const auto stored = read(s);
  EXPECT_EQ(stored.blueprintId, blueprint.id);
  EXPECT_EQ(stored.spec.blueprintName, "another");
  EXPECT_EQ(stored.spec.manifest, blueprint.manifestDigest);
  EXPECT_EQ(stored.rootGeneration, 4);
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0))).value().rootGeneration, 4)
      << "what comes after does not take it back";
  EXPECT_EQ(auditActions(acme_)[1], "sandbox.reprovision");
}

TEST_F(RootStore, AKeyMakesItHappenOnce) {
  const auto s = addSandbox(acme_);
  Store::Reprovisioning wish;
  wish.repeat = RepeatKey{"k", Digest::of("request")};
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, wish)).value().rootGeneration, 2);
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, wish)).value().rootGeneration, 2);
  wish.repeat->request = Digest::of("another request");
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, wish)).error().reason, "repeat_key_reused");
}

TEST_F(RootStore, RefusesWhatCannotBeDoneAndChangesNothing) {
  const auto s = addSandbox(acme_);
  Store::Reprovisioning picky;
  picky.check = [&](const HostLoad& load, const BlueprintRecord& blueprint) -> Status {
    EXPECT_EQ(load.host.id, s.hostId);
    EXPECT_EQ(blueprint.id, s.blueprintId);
    return fail(makeError(ErrorCode::kFailedPrecondition, "no").withReason("cannot_reprovision"));
  };
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, picky)).error().reason, "cannot_reprovision");
  connect(run(store_->getHost(acme_.tenantId, s.hostId)).value(), {"exec"});
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, {})).error().reason, "agent_too_old");
  EXPECT_EQ(read(s).generation, 1);
  EXPECT_EQ(read(s).rootGeneration, 0);
  EXPECT_EQ(codeOf(run(store_->reprovision(addTenant("other"), s.id, {}))), ErrorCode::kNotFound);
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, {})).error().reason, "sandbox_deleting");
  ASSERT_TRUE(run(store_->removeHost(acme_, s.hostId, Store::RemoveHost::kAlsoWithSandboxes)));
}

}  // namespace
}  // namespace gs

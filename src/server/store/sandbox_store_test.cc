#include "server/store/store_fixture.h"

namespace gs {
namespace {

using SandboxStore = StoreTest;

TEST_F(SandboxStore, KeepsTheWholeSpec) {
  const auto sandbox = addSandbox(acme_);
  const auto stored = read(sandbox);
  EXPECT_EQ(stored.spec, sandbox.spec);
  EXPECT_EQ(stored.state, SandboxState::kPlacing);
  EXPECT_EQ(stored.reason, "pending_placement");
  EXPECT_EQ(stored.generation, 1);
  EXPECT_EQ(run(store_->findSandbox(acme_.tenantId, "box")).value().id, sandbox.id);
  EXPECT_EQ(run(store_->findSandbox(acme_.tenantId, sandbox.id.text())).value().id, sandbox.id);
}

TEST_F(SandboxStore, RefusesATakenNameAndWhatIsGoneSincePlacement) {
  const auto sandbox = addSandbox(acme_);
  const auto host = run(store_->getHost(acme_.tenantId, sandbox.hostId)).value();
  const auto blueprint = addBlueprint(acme_, "short-lived");
  EXPECT_EQ(codeOf(run(store_->insertSandbox(acme_, sandboxOn(acme_, host, blueprint, "box")))),
            ErrorCode::kAlreadyExists);
  ASSERT_TRUE(run(store_->deleteBlueprint(acme_, blueprint.id)));
  EXPECT_EQ(codeOf(run(store_->insertSandbox(acme_, sandboxOn(acme_, host, blueprint, "b")))), ErrorCode::kNotFound);
  const auto other = addHost(acme_, "short-lived");
  ASSERT_TRUE(run(store_->removeHost(acme_, other.id, Store::RemoveHost::kOnlyWhenEmpty)));
  EXPECT_EQ(codeOf(run(store_->insertSandbox(acme_, sandboxOn(acme_, other, blueprint, "b")))),
            ErrorCode::kFailedPrecondition);
}

TEST_F(SandboxStore, RaisesTheGenerationOncePerWish) {
  const auto s = addSandbox(acme_);
  const auto wish = [&](DesiredState desired) {
    return run(store_->setDesired(acme_, s.id, desired, Millis(1234)));
  };
  EXPECT_EQ(wish(DesiredState::kRunning).value().generation, 1) << "it is on its way up";
  const auto stopping = wish(DesiredState::kStopped).value();
  EXPECT_EQ(stopping.generation, 2);
  EXPECT_EQ(stopping.stopGrace, Millis(1234));
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(1))).value().stopGrace, Millis(1234))
      << "a repeat does not change the grace";
  EXPECT_EQ(wish(DesiredState::kRunning).value().generation, 3);
  const auto deleting = wish(DesiredState::kDeleted).value();
  EXPECT_EQ(deleting.generation, 4);
  EXPECT_EQ(deleting.state, SandboxState::kDeleting);
  EXPECT_EQ(wish(DesiredState::kDeleted).value().generation, 4);
  EXPECT_EQ(codeOf(wish(DesiredState::kRunning)), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(codeOf(wish(DesiredState::kStopped)), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(auditActions(acme_).front(), "sandbox.delete");
}

TEST_F(SandboxStore, StartsAgainWhatEndedByItself) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 1, SandboxState::kFailed, "workload_exited");
  const auto again = run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))).value();
  EXPECT_EQ(again.generation, 2);
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))).value().generation, 2)
      << "the failure is of the generation before: this start is under way";
}

TEST_F(SandboxStore, TakesOnlyNewerObservationsOfItsOwnHost) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 2, SandboxState::kRunning);
  EXPECT_EQ(read(s).startedAt, now());
  const struct {
    const char* why;
    std::uint64_t generation, sequence;
    SandboxState state, expected;
  } rows[] = {
      {"late", 1, 1, SandboxState::kStarting, SandboxState::kRunning},
      {"doubled", 1, 2, SandboxState::kFailed, SandboxState::kRunning},
      {"newer", 1, 3, SandboxState::kFailed, SandboxState::kFailed},
      {"a later generation counts from any sequence", 2, 1, SandboxState::kStarting, SandboxState::kStarting},
      {"an earlier generation never comes back", 1, 99, SandboxState::kRunning, SandboxState::kStarting},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(observe(s, row.generation, row.sequence, row.state).state, row.expected) << row.why;
  }
  Observation foreign;
  foreign.sandboxId = s.id;
  foreign.generation = 9;
  EXPECT_EQ(codeOf(run(store_->applyObservation(addHost(acme_).id, foreign))), ErrorCode::kNotFound);
}

TEST_F(SandboxStore, OutrunsGenerationsThatALostDatabaseHandedOut) {
  const auto s = addSandbox(acme_);
  observe(s, 7, 1, SandboxState::kRunning);
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0))).value().generation, 8);
}

TEST_F(SandboxStore, ReadsUnknownWhileTheHostIsUnheardAndItsStateAfterwards) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 1, SandboxState::kRunning);
  const auto host = run(store_->getHost(acme_.tenantId, s.hostId)).value();
  ASSERT_TRUE(run(store_->linkDown(s.hostId, host.epoch, "link_closed", now())));
  const auto lost = read(s);
  EXPECT_EQ(lost.state, SandboxState::kUnknown);
  EXPECT_EQ(lost.reason, "host_disconnected");
  EXPECT_EQ(lost.version, 2) << "nothing was written";
  const auto filtered = [&](SandboxState state) {
    return run(store_->listSandboxes(acme_.tenantId, {{}, state}, {})).value().items.size();
  };
  EXPECT_EQ(filtered(SandboxState::kUnknown), 1U);
  EXPECT_EQ(filtered(SandboxState::kRunning), 0U);
  connect(host);
  EXPECT_EQ(read(s).state, SandboxState::kRunning);
  EXPECT_EQ(read(s).reason, "");
  EXPECT_EQ(filtered(SandboxState::kUnknown), 0U);
  EXPECT_EQ(filtered(SandboxState::kRunning), 1U);
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(read(s).state, SandboxState::kDeleting) << "deletion is known, whether the host is heard or not";
  EXPECT_EQ(read(s).reason, "host_disconnected");
  EXPECT_EQ(filtered(SandboxState::kDeleting), 1U);
}

TEST_F(SandboxStore, RemovesTheRecordOnlyWhenDeletionWasWanted) {
  const auto s = addSandbox(acme_);
  const auto unasked = observe(s, 1, 1, SandboxState::kDeleted);
  EXPECT_EQ(unasked.state, SandboxState::kFailed);
  EXPECT_EQ(unasked.reason, "runtime_error");
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(observe(s, 1, 2, SandboxState::kRunning).state, SandboxState::kDeleting) << "a late word changes nothing";
  EXPECT_EQ(observe(s, 2, 3, SandboxState::kDeleted).state, SandboxState::kDeleted);
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, s.id))), ErrorCode::kNotFound);
  EXPECT_EQ(auditActions(acme_).front(), "sandbox.deleted") << "its audit remains";
  const auto host = run(store_->getHost(acme_.tenantId, s.hostId)).value();
  EXPECT_TRUE(run(store_->insertSandbox(acme_, sandboxOn(acme_, host, addBlueprint(acme_), "box")))) << "its name is free";
}

TEST_F(SandboxStore, RecordsARefusalOfThePresentGenerationOnly) {
  const auto s = addSandbox(acme_);
  EXPECT_EQ(run(store_->refuseAssignment(s.hostId, s.id, 9, "no")).value().state, SandboxState::kPlacing);
  const auto refused = run(store_->refuseAssignment(s.hostId, s.id, 1, "memory limit is 1 GiB here")).value();
  EXPECT_EQ(refused.state, SandboxState::kFailed);
  EXPECT_EQ(refused.reason, "spec_rejected");
  EXPECT_EQ(refused.message, "memory limit is 1 GiB here");
  EXPECT_EQ(observe(s, 1, 1, SandboxState::kRunning).state, SandboxState::kRunning) << "what is seen outweighs it";
}

TEST_F(SandboxStore, AnswersARepeatedCreationWithWhatTheFirstOneMade) {
  const auto host = addHost(acme_);
  const auto blueprint = addBlueprint(acme_);
  int choices = 0;
  Store::Placing placing;
  placing.hosts = {host.clusterId, {}, blueprint.manifestDigest};
  placing.choose = [&](const std::vector<HostLoad>&) -> Result<std::size_t> { return ++choices, 0U; };
  placing.repeat = RepeatKey{"mine", Digest::of("request")};
  EXPECT_FALSE(run(store_->findRepeated(acme_.tenantId, *placing.repeat)).value());
  const auto first = run(store_->placeSandbox(acme_, sandboxOn(acme_, host, blueprint, "a"), placing)).value();
  observe(first, 1, 1, SandboxState::kRunning);
  const auto again = run(store_->placeSandbox(acme_, sandboxOn(acme_, host, blueprint, "b"), placing)).value();
  EXPECT_EQ(again.id, first.id);
  EXPECT_NE(again.state, first.state) << "as it is now";
  EXPECT_EQ(choices, 1);
  const RepeatKey other{"mine", Digest::of("another request")};
  EXPECT_EQ(run(store_->findRepeated(acme_.tenantId, other)).error().reason, "repeat_key_reused");
  EXPECT_FALSE(run(store_->findRepeated(addTenant("eve").tenantId, *placing.repeat)).value()) << "a tenant's own";
  ASSERT_TRUE(run(store_->setDesired(acme_, first.id, DesiredState::kDeleted, Millis(0))));
  observe(first, 2, 2, SandboxState::kDeleted);
  EXPECT_EQ(run(store_->findRepeated(acme_.tenantId, *placing.repeat)).error().reason, "repeat_key_spent");
  clock_.advance(kRepeatKeyLifetime);
  const auto later = run(store_->placeSandbox(acme_, sandboxOn(acme_, host, blueprint, "b"), placing)).value();
  EXPECT_NE(later.id, first.id) << "after a day the key is new";
}

TEST_F(SandboxStore, ListsByHostAndGivesTheHostAllThatIsNotDeleted) {
  const auto a = addSandbox(acme_, "a");
  const auto b = addSandbox(acme_, "b");
  observe(a, 1, 1, SandboxState::kRunning);
  ASSERT_TRUE(run(store_->setDesired(acme_, a.id, DesiredState::kDeleted, Millis(0))));
  const auto onA = run(store_->listSandboxes(acme_.tenantId, {a.hostId, {}}, {})).value().items;
  ASSERT_EQ(onA.size(), 1U);
  EXPECT_EQ(onA[0].name, "a");
  const auto all = run(store_->sandboxesOnHost(a.hostId)).value();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].desired, DesiredState::kDeleted);
  EXPECT_EQ(all[0].state, SandboxState::kRunning) << "the host gets back what it said";
  EXPECT_EQ(run(store_->listSandboxes(acme_.tenantId, {}, {1, ""})).value().items.size(), 1U);
}

TEST_F(SandboxStore, FindsBlueprintsInThreeWaysAndKeepsThoseInUse) {
  const auto s = addSandbox(acme_);
  const auto blueprint = run(store_->getBlueprint(acme_.tenantId, s.blueprintId)).value();
  clock_.advance(Millis(1));
  const auto twin = addBlueprint(acme_, "twin");
  EXPECT_EQ(run(store_->findBlueprint(acme_.tenantId, "twin")).value().id, twin.id);
  EXPECT_EQ(run(store_->findBlueprint(acme_.tenantId, twin.id.text())).value().id, twin.id);
  EXPECT_EQ(run(store_->findBlueprint(acme_.tenantId, twin.manifestDigest.text())).value().id, blueprint.id)
      << "of several with one digest the oldest is meant";
  EXPECT_EQ(run(store_->allManifests()).value().size(), 1U);
  EXPECT_EQ(codeOf(run(store_->insertBlueprint(acme_, twin))), ErrorCode::kAlreadyExists);
  const auto refused = run(store_->deleteBlueprint(acme_, blueprint.id));
  ASSERT_EQ(codeOf(refused), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(refused.error().details, std::vector<std::string>{"/sandboxes/" + s.id.text() + ": sandbox box uses it"});
  ASSERT_TRUE(run(store_->deleteBlueprint(acme_, twin.id)));
  EXPECT_EQ(codeOf(run(store_->deleteBlueprint(acme_, twin.id))), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gs

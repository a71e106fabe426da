#include "server/store/store_fixture.h"

namespace gs {
namespace {

class ArchiveStore : public StoreTest {
 protected:
  Result<SandboxRecord> archive(const SandboxRecord& s) { return run(store_->archive(acme_, s.id, Millis(5))); }
  Store::FinishedArchive finished(std::int64_t generation, std::string manifest = R"({"archived":1})") {
    return {generation, Digest::of(manifest), manifest, "{}", 100, 10};
  }
  Result<SandboxRecord> finish(const SandboxRecord& s, std::int64_t generation) {
    return run(store_->finishArchive(s.hostId, s.id, finished(generation)));
  }
  Result<SandboxRecord> restore(const SandboxRecord& s) {
    Store::Placing placing;
    placing.hosts = {s.clusterId, std::nullopt, s.spec.manifest};
    placing.choose = [](const std::vector<HostLoad>& hosts) -> Result<std::size_t> {
      if (hosts.empty()) return fail(ErrorCode::kFailedPrecondition, "none");
      return hosts.size() - 1;
    };
    return run(store_->restore(acme_, s.id, placing));
  }
  std::vector<std::string> wantedOn(const HostId& host) {
    std::vector<std::string> out;
    for (const auto& each : run(store_->sandboxesOnHost(host)).value()) {
      out.push_back(fmt::format("{}:{}", desiredStateName(each.desired), each.generation));
    }
    return out;
  }
};

TEST_F(ArchiveStore, GoesAwayAndItsHostIsToRemoveItUntilItSaysThatItDid) {
  const auto s = addSandbox(acme_);
  const auto wished = archive(s).value();
  EXPECT_EQ(wished.generation, 2);
  EXPECT_EQ(wished.desired, DesiredState::kArchived);
  EXPECT_EQ(archive(s).value().generation, 2) << "a repeat changes nothing";
  EXPECT_EQ(run(store_->archivingSandboxes()).value(), std::vector<SandboxId>{s.id});
  const auto target = run(store_->archiveTarget(s.hostId, s.id, 2)).value();
  EXPECT_EQ(Digest::of(target.manifest), s.spec.manifest);
  EXPECT_EQ(run(store_->archiveTarget(s.hostId, s.id, 1)).error().reason, "not_archiving");

  const auto away = finish(s, 2).value();
  EXPECT_EQ(away.state, SandboxState::kArchived);
  EXPECT_TRUE(away.hostId.empty());
  EXPECT_EQ(away.generation, 3);
  EXPECT_EQ(away.observedGeneration, 3);
  EXPECT_EQ(away.archive->layerBytes, 10);
  EXPECT_EQ(away.spec.manifest, away.archive->manifestDigest);
  EXPECT_EQ(codeOf(finish(s, 2)), ErrorCode::kNotFound) << "it is on no host any more";
  EXPECT_EQ(run(store_->getHost(acme_.tenantId, s.hostId)).value().sandboxCount, 0);
  EXPECT_EQ(wantedOn(s.hostId), std::vector<std::string>{"deleted:3"});
  EXPECT_TRUE(run(store_->archivingSandboxes()).value().empty());

  observe(s, 2, 9, SandboxState::kStopped);
  EXPECT_EQ(read(s).state, SandboxState::kArchived) << "what its host says now is of a life that is over";
  EXPECT_EQ(wantedOn(s.hostId).size(), 1U);
  observe(s, 3, 10, SandboxState::kDeleted);
  EXPECT_TRUE(wantedOn(s.hostId).empty());
  EXPECT_EQ(read(s).state, SandboxState::kArchived);
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))).error().reason, "sandbox_archived");
  EXPECT_EQ(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0))).error().reason, "sandbox_archived");
  EXPECT_EQ(run(store_->reprovision(acme_, s.id, {})).error().reason, "sandbox_archived");
  EXPECT_EQ(archive(s).value().generation, 3);
}

TEST_F(ArchiveStore, ComesBackWithARootOfItsOwnAlsoWhereItIsStillToBeRemoved) {
  const auto s = addSandbox(acme_);
  ASSERT_TRUE(archive(s));
  ASSERT_TRUE(finish(s, 2));
  const auto back = restore(s).value();
  EXPECT_EQ(back.hostId, s.hostId);
  EXPECT_EQ(back.desired, DesiredState::kRunning);
  EXPECT_EQ(back.state, SandboxState::kPlacing);
  EXPECT_EQ(back.generation, 4);
  EXPECT_EQ(back.rootGeneration, 4);
  EXPECT_EQ(wantedOn(s.hostId), std::vector<std::string>{"running:4"}) << "there is nothing to remove besides";
  EXPECT_EQ(restore(s).value().generation, 4) << "a repeat";
  observe(s, 3, 50, SandboxState::kDeleted);
  EXPECT_EQ(read(s).state, SandboxState::kPlacing) << "the removal of the life before is no loss of this one";
  EXPECT_EQ(run(store_->manifestFor(s.hostId, back.spec.manifest)).value(), R"({"archived":1})");
  EXPECT_EQ(codeOf(run(store_->manifestFor(s.hostId, s.spec.manifest))), ErrorCode::kNotFound);
  // On top of the archive next time; back to the blueprint by a fresh root.
  ASSERT_TRUE(archive(s));
  EXPECT_EQ(run(store_->archiveTarget(s.hostId, s.id, 5)).value().manifest, R"({"archived":1})");
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))));
  const auto fresh = run(store_->reprovision(acme_, s.id, {})).value();
  EXPECT_EQ(fresh.spec.manifest, s.spec.manifest);
  EXPECT_FALSE(fresh.archive);
  EXPECT_EQ(run(store_->allManifests()).value().size(), 1U) << "nothing stands on the archive any more";
}

TEST_F(ArchiveStore, DeletionWinsAtEveryMoment) {
  const auto s = addSandbox(acme_);
  ASSERT_TRUE(archive(s));
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(finish(s, 2).error().reason, "not_archiving");
  EXPECT_EQ(archive(s).error().reason, "sandbox_deleting");
  const auto other = addSandbox(acme_, "other");
  ASSERT_TRUE(archive(other));
  ASSERT_TRUE(finish(other, 2));
  EXPECT_EQ(run(store_->allManifests()).value().size(), 2U) << "kept from the sweep";
  EXPECT_EQ(run(store_->setDesired(acme_, other.id, DesiredState::kDeleted, Millis(0))).value().state, SandboxState::kDeleted);
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, other.id))), ErrorCode::kNotFound);
  EXPECT_EQ(run(store_->allManifests()).value().size(), 1U);
  EXPECT_EQ(wantedOn(other.hostId), std::vector<std::string>{"deleted:3"}) << "its host still has to remove what it has";
  ASSERT_TRUE(run(store_->removeHost(acme_, other.hostId, Store::RemoveHost::kOnlyWhenEmpty)));
}

TEST_F(ArchiveStore, TriesAgainAfterAFailureOnly) {
  const auto s = addSandbox(acme_);
  ASSERT_TRUE(archive(s));
  observe(s, 2, 1, SandboxState::kStopped, "archiving");
  EXPECT_EQ(archive(s).value().generation, 2);
  EXPECT_EQ(observe(s, 2, 2, SandboxState::kArchived).state, SandboxState::kStopped) << "not for its host to say";
  observe(s, 2, 3, SandboxState::kFailed, "disk_full");
  EXPECT_EQ(archive(s).value().generation, 3);
  connect(run(store_->getHost(acme_.tenantId, s.hostId)).value(), {"exec"});
  observe(s, 3, 4, SandboxState::kFailed, "disk_full");
  EXPECT_EQ(archive(s).error().reason, "agent_too_old");
}

}  // namespace
}  // namespace gs

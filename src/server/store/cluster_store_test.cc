#include "server/store/store_fixture.h"

namespace gs {
namespace {

class ClusterStore : public StoreTest {
 protected:
  ClusterRecord addCluster(const Actor& actor, std::string name, ClusterKind kind = ClusterKind::kByo) {
    ClusterRecord cluster;
    cluster.id = ClusterId::make();
    cluster.tenantId = actor.tenantId;
    cluster.name = std::move(name);
    cluster.kind = kind;
    cluster.createdAt = now();
    EXPECT_TRUE(run(store_->insertCluster(actor, cluster)).has_value());
    return cluster;
  }
};

TEST_F(ClusterStore, RenamesOnlyTheVersionThatWasMeant) {
  const auto cluster = addCluster(acme_, "one");
  addCluster(acme_, "two");
  const auto same = run(store_->renameCluster(acme_, cluster.id, "one", 1)).value();
  EXPECT_EQ(same.version, 1) << "the present name changes nothing";
  const auto renamed = run(store_->renameCluster(acme_, cluster.id, "uno", 1)).value();
  EXPECT_EQ(renamed.version, 2);
  EXPECT_EQ(renamed.name, "uno");
  const auto stale = run(store_->renameCluster(acme_, cluster.id, "eins", 1));
  EXPECT_EQ(codeOf(stale), ErrorCode::kAborted);
  EXPECT_EQ(stale.error().reason, "version_mismatch");
  EXPECT_EQ(codeOf(run(store_->renameCluster(acme_, cluster.id, "two", 2))), ErrorCode::kAlreadyExists);
}

TEST_F(ClusterStore, DeletesOnlyWhatIsEmptyAndNotTheDefault) {
  EXPECT_EQ(codeOf(run(store_->deleteCluster(acme_, defaultCluster(acme_)))), ErrorCode::kFailedPrecondition);
  const auto cluster = addCluster(acme_, "pool");
  auto token = addToken(acme_);
  token.id = TokenId::make();
  token.clusterId = cluster.id;
  token.maxUses = 2;
  ASSERT_TRUE(run(store_->insertToken(acme_, token)));
  const auto host = run(store_->enrollHost(enrollment(token))).value();
  EXPECT_EQ(run(store_->getCluster(acme_.tenantId, cluster.id)).value().hostCount, 1);
  EXPECT_EQ(codeOf(run(store_->deleteCluster(acme_, cluster.id))), ErrorCode::kFailedPrecondition);
  ASSERT_TRUE(run(store_->removeHost(acme_, host.id, Store::RemoveHost::kOnlyWhenEmpty)));
  ASSERT_TRUE(run(store_->deleteCluster(acme_, cluster.id)));
  EXPECT_EQ(codeOf(run(store_->deleteCluster(acme_, cluster.id))), ErrorCode::kNotFound) << "a repeat";
  const auto refused = run(store_->enrollHost(enrollment(token)));
  ASSERT_EQ(codeOf(refused), ErrorCode::kUnauthenticated);
  EXPECT_EQ(refused.error().reason, "token_revoked") << "its tokens went with it";
  EXPECT_NO_FATAL_FAILURE(addCluster(acme_, "pool")) << "its name is free";
}

TEST_F(ClusterStore, NeverEnrollsIntoAManagedCluster) {
  const auto managed = addCluster(acme_, "managed", ClusterKind::kManaged);
  EXPECT_EQ(run(store_->getCluster(acme_.tenantId, managed.id)).value().kind, ClusterKind::kManaged);
  TokenRecord token;
  token.id = TokenId::make();
  token.clusterId = managed.id;
  EXPECT_EQ(codeOf(run(store_->insertToken(acme_, token))), ErrorCode::kFailedPrecondition);
}

TEST_F(ClusterStore, KeepsATokensNameUntilItIsRevoked) {
  auto token = addToken(acme_);
  const auto named = [&] {
    token.id = TokenId::make();
    token.name = "rack-3";
    return run(store_->insertToken(acme_, token));
  };
  ASSERT_TRUE(named());
  const TokenId first = token.id;
  EXPECT_EQ(codeOf(named()), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(run(store_->revokeToken(acme_, first)));
  ASSERT_TRUE(run(store_->revokeToken(acme_, first))) << "a repeat succeeds";
  EXPECT_TRUE(named());
  EXPECT_EQ(run(store_->listTokens(acme_.tenantId, {})).value().items.size(), 3U) << "revoked ones stay visible";
}

// One row for each way of asking with another tenant's id; none may say more than that there is no such thing.
TEST_F(ClusterStore, AnswersAnotherTenantsIdsAsIfTheyDidNotExist) {
  const auto token = addToken(acme_, 5);
  const auto sandbox = addSandbox(acme_);
  const auto host = run(store_->getHost(acme_.tenantId, sandbox.hostId)).value();
  const auto blueprint = run(store_->getBlueprint(acme_.tenantId, sandbox.blueprintId)).value();
  const Actor eve = addTenant("eve");
  const TenantId& t = eve.tenantId;
  TokenRecord intruder = token;
  intruder.id = TokenId::make();
  const struct {
    const char* what;
    ErrorCode got;
  } rows[] = {
      {"getUser", codeOf(run(store_->getUser(t, acme_.userId)))},
      {"revokeApiKey", codeOf(run(store_->revokeApiKey(eve, acme_.apiKeyId)))},
      {"getCluster", codeOf(run(store_->getCluster(t, host.clusterId)))},
      {"renameCluster", codeOf(run(store_->renameCluster(eve, host.clusterId, "x", 1)))},
      {"deleteCluster", codeOf(run(store_->deleteCluster(eve, host.clusterId)))},
      {"insertToken into it", codeOf(run(store_->insertToken(eve, intruder)))},
      {"getToken", codeOf(run(store_->getToken(t, token.id)))},
      {"revokeToken", codeOf(run(store_->revokeToken(eve, token.id)))},
      {"getHost", codeOf(run(store_->getHost(t, host.id)))},
      {"updateHost", codeOf(run(store_->updateHost(eve, host.id, {"x", {}}, 1)))},
      {"removeHost", codeOf(run(store_->removeHost(eve, host.id, Store::RemoveHost::kAlsoWithSandboxes)))},
      {"getBlueprint", codeOf(run(store_->getBlueprint(t, blueprint.id)))},
      {"findBlueprint by id", codeOf(run(store_->findBlueprint(t, blueprint.id.text())))},
      {"findBlueprint by name", codeOf(run(store_->findBlueprint(t, blueprint.name)))},
      {"findBlueprint by digest", codeOf(run(store_->findBlueprint(t, blueprint.manifestDigest.text())))},
      {"deleteBlueprint", codeOf(run(store_->deleteBlueprint(eve, blueprint.id)))},
      {"getSandbox", codeOf(run(store_->getSandbox(t, sandbox.id)))},
      {"findSandbox by id", codeOf(run(store_->findSandbox(t, sandbox.id.text())))},
      {"findSandbox by name", codeOf(run(store_->findSandbox(t, sandbox.name)))},
      {"setDesired", codeOf(run(store_->setDesired(eve, sandbox.id, DesiredState::kDeleted, Millis(0))))},
  };
  for (const auto& row : rows) EXPECT_EQ(row.got, ErrorCode::kNotFound) << row.what;
  EXPECT_TRUE(run(store_->listHosts(t, host.clusterId, {})).value().items.empty());
  EXPECT_TRUE(run(store_->hostLoads(t, {host.clusterId, host.id})).value().empty());
  EXPECT_TRUE(run(store_->listSandboxes(t, {host.id, {}}, {})).value().items.empty());
  EXPECT_TRUE(run(store_->listBlueprints(t, {})).value().items.empty());
  EXPECT_TRUE(run(store_->listTokens(t, {})).value().items.empty());
  EXPECT_EQ(run(store_->listApiKeys(t, {})).value().items.size(), 1U);
  EXPECT_EQ(run(store_->listClusters(t, {})).value().items.size(), 1U);
  EXPECT_EQ(run(store_->listAudit(t, {})).value().items.size(), 1U);
  auto theirs = sandboxOn(eve, host, blueprint, "theft");
  EXPECT_FALSE(run(store_->insertSandbox(eve, theirs))) << "not on another tenant's host";
}

}  // namespace
}  // namespace gs

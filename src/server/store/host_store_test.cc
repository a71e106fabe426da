#include "server/store/store_fixture.h"

namespace gs {
namespace {

using HostStore = StoreTest;

TEST_F(HostStore, EnrollsExactlyOneOfTwoHundredOnASingleUseToken) {
  const auto token = addToken(acme_);
  int enrolled = 0;
  int exhausted = 0;
  int ended = 0;
  for (int i = 0; i < 200; ++i) {
    asio::co_spawn(loop_, store_->enrollHost(enrollment(token)), [&](std::exception_ptr e, Result<HostRecord> result) {
      EXPECT_FALSE(e);
      ++ended;
      if (result) {
        ++enrolled;
      } else if (result.error().reason == "token_exhausted") {
        ++exhausted;
      }
    });
  }
  runUntil([&] { return ended == 200; });
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(exhausted, 199);
  EXPECT_EQ(run(store_->listHosts(acme_.tenantId, {}, {200, ""})).value().items.size(), 1U);
  EXPECT_EQ(run(store_->getToken(acme_.tenantId, token.id)).value().uses, 1);
}

TEST_F(HostStore, RefusesTokensEachForItsReason) {
  const auto revoked = addToken(acme_);
  ASSERT_TRUE(run(store_->revokeToken(acme_, revoked.id)));
  const auto expired = addToken(acme_);
  const auto good = addToken(acme_);
  auto wrongSecret = enrollment(good);
  wrongSecret.secretHash = std::string(32, 'x');
  auto revokedAndWrong = enrollment(revoked);
  revokedAndWrong.secretHash = std::string(32, 'x');
  auto unknown = enrollment(good);
  unknown.tokenId = TokenId::make();
  auto late = enrollment(expired);
  late.now = expired.expiresAt;
  const struct {
    const char* why;
    Store::Enrollment attempt;
    const char* reason;
  } rows[] = {
      {"an id that does not exist", unknown, "token_unknown"},
      {"a wrong secret reads the same", wrongSecret, "token_unknown"},
      {"only who has the secret learns of a revocation", revokedAndWrong, "token_unknown"},
      {"revoked", enrollment(revoked), "token_revoked"},
      {"the moment of expiry is too late", late, "token_expired"},
  };
  for (const auto& row : rows) {
    const auto result = run(store_->enrollHost(row.attempt));
    ASSERT_EQ(codeOf(result), ErrorCode::kUnauthenticated) << row.why;
    EXPECT_EQ(result.error().reason, row.reason) << row.why;
  }
  EXPECT_EQ(run(store_->getToken(acme_.tenantId, good.id)).value().uses, 0) << "a failed enrollment does not count";
}

TEST_F(HostStore, MakesNamesValidAndUnique) {
  const struct {
    const char* wanted;
    const char* expected;
  } rows[] = {{"Rack_3.Example", "rack-3-example"}, {"rack-3-example", "rack-3-example-2"}, {"--", "host"}, {"", "host-2"}};
  for (const auto& row : rows) EXPECT_EQ(addHost(acme_, row.wanted).name, row.expected) << row.wanted;
  EXPECT_EQ(addHost(acme_, std::string(80, 'a')).name, std::string(63, 'a'));
  EXPECT_EQ(addHost(acme_, std::string(80, 'a')).name, std::string(61, 'a') + "-2");
}

TEST_F(HostStore, KnowsCertificatesUntilTheirHostIsRemoved) {
  const auto host = addHost(acme_);
  const std::string serial = host.id.text().substr(4);
  EXPECT_EQ(run(store_->authenticateHost(host.id, serial)).value().id, host.id);
  EXPECT_EQ(codeOf(run(store_->authenticateHost(host.id, "ff"))), ErrorCode::kUnauthenticated);
  EXPECT_EQ(codeOf(run(store_->authenticateHost(addHost(acme_).id, serial))), ErrorCode::kUnauthenticated)
      << "a certificate speaks for its own host only";
  ASSERT_TRUE(run(store_->insertCertificate({"aa", host.id, now() + std::chrono::hours(24), {}})));
  EXPECT_TRUE(run(store_->authenticateHost(host.id, "aa")));
  EXPECT_TRUE(run(store_->authenticateHost(host.id, serial))) << "the earlier one stays valid";
  ASSERT_TRUE(run(store_->removeHost(acme_, host.id, Store::RemoveHost::kOnlyWhenEmpty)));
  for (const std::string& each : {serial, std::string("aa")}) {
    const auto result = run(store_->authenticateHost(host.id, each));
    ASSERT_EQ(codeOf(result), ErrorCode::kPermissionDenied);
    EXPECT_EQ(result.error().reason, "host_revoked");
  }
  EXPECT_EQ(codeOf(run(store_->insertCertificate({"bb", host.id, now(), {}}))), ErrorCode::kPermissionDenied);
  EXPECT_EQ(codeOf(run(store_->removeHost(acme_, host.id, Store::RemoveHost::kOnlyWhenEmpty))), ErrorCode::kNotFound);
  EXPECT_EQ(codeOf(run(store_->recordTelemetry(host.id, {}, now()))), ErrorCode::kPermissionDenied);
}

TEST_F(HostStore, ForgetsCertificatesThatCanNeverBeRenewedAgain) {
  const auto host = addHost(acme_);
  ASSERT_TRUE(run(store_->insertCertificate({"old", host.id, now(), {}})));
  clock_.advance(std::chrono::days(30));
  ASSERT_TRUE(run(store_->insertCertificate({"aa", host.id, now(), {}})));
  EXPECT_TRUE(run(store_->authenticateHost(host.id, "old"))) << "within its grace";
  clock_.advance(std::chrono::days(2));
  ASSERT_TRUE(run(store_->insertCertificate({"bb", host.id, now(), {}})));
  EXPECT_EQ(codeOf(run(store_->authenticateHost(host.id, "old"))), ErrorCode::kUnauthenticated);
}

TEST_F(HostStore, FollowsTheLinkByEpochs) {
  const auto host = addHost(acme_);
  EXPECT_EQ(host.state, HostState::kDisconnected);
  const auto first = connect(host);
  const auto second = connect(host);
  EXPECT_GT(second, first);
  ASSERT_TRUE(run(store_->linkDown(host.id, first, "superseded", now())));
  auto read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_EQ(read.state, HostState::kConnected) << "an older link's end says nothing";
  EXPECT_EQ(read.features, (std::vector<std::string>{"exec", "reprovision", "archive"}));
  EXPECT_EQ(read.telemetry.memoryAvailableBytes, 4ULL << 30);
  ASSERT_TRUE(run(store_->linkDown(host.id, second, "heartbeat_lost", now())));
  read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_EQ(read.state, HostState::kDisconnected);
  EXPECT_EQ(read.disconnectReason, "heartbeat_lost");
  EXPECT_EQ(read.lastSeenAt, now());
  EXPECT_EQ(read.version, 1) << "what a host says does not touch the version";
  connect(host);
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  EXPECT_EQ(run(store_->getHost(acme_.tenantId, host.id)).value().disconnectReason, "server_restarted");
}

TEST_F(HostStore, GivesEpochsPastThoseOfALostDatabase) {
  const auto host = addHost(acme_);
  const auto before = connect(host);
  // The same host in a database from a backup, a second later: its row still has the old, smaller epoch.
  clock_.advance(Millis(1000));
  EXPECT_GE(connect(host), before + 1000);
}

TEST_F(HostStore, RecordsFactsAndTelemetry) {
  const auto host = addHost(acme_);
  HostFacts facts = host.facts;
  facts.traits = {"amd64", "linux"};
  facts.runtimes = {{"docker", RuntimeState::kUnhealthy, "20.10", "dockerd does not answer"}};
  clock_.advance(Millis(3000));
  ASSERT_TRUE(run(store_->recordFacts(host.id, facts, now())));
  HostTelemetry telemetry{1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(run(store_->recordTelemetry(host.id, telemetry, now())));
  const auto read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_EQ(read.facts, facts);
  EXPECT_EQ(read.telemetry, telemetry);
  EXPECT_EQ(read.lastSeenAt, now());
}

TEST_F(HostStore, UpdatesOnlyTheVersionThatWasMeant) {
  const auto host = addHost(acme_);
  addHost(acme_, "other");
  const auto tagged = run(store_->updateHost(acme_, host.id, {{}, {{{"zone", "a"}}}}, 1)).value();
  EXPECT_EQ(tagged.version, 2);
  EXPECT_EQ(tagged.tags.at("zone"), "a");
  EXPECT_EQ(run(store_->updateHost(acme_, host.id, {"rack", {{{"zone", "a"}}}}, 2)).value().version, 2) << "no change";
  EXPECT_EQ(codeOf(run(store_->updateHost(acme_, host.id, {"x", {}}, 1))), ErrorCode::kAborted);
  EXPECT_EQ(codeOf(run(store_->updateHost(acme_, host.id, {"other", {}}, 2))), ErrorCode::kAlreadyExists);
  EXPECT_EQ(run(store_->updateHost(acme_, host.id, {"renamed", {}}, 2)).value().tags.size(), 1U) << "absent stays";
}

TEST_F(HostStore, RemovesAHostWithSandboxesOnlyByForceAndSaysWhatIsLost) {
  const auto sandbox = addSandbox(acme_);
  const auto host = run(store_->getHost(acme_.tenantId, sandbox.hostId)).value();
  auto doomed = sandboxOn(acme_, host, run(store_->getBlueprint(acme_.tenantId, sandbox.blueprintId)).value(), "doomed");
  ASSERT_TRUE(run(store_->insertSandbox(acme_, doomed)));
  ASSERT_TRUE(run(store_->setDesired(acme_, doomed.id, DesiredState::kDeleted, Millis(0))));
  const auto refused = run(store_->removeHost(acme_, host.id, Store::RemoveHost::kOnlyWhenEmpty));
  ASSERT_EQ(codeOf(refused), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(refused.error().details.size(), 2U);
  EXPECT_EQ(refused.error().details[0], "/sandboxes/" + sandbox.id.text() + ": sandbox box lives on it");
  ASSERT_TRUE(run(store_->removeHost(acme_, host.id, Store::RemoveHost::kAlsoWithSandboxes)));
  const auto lost = read(sandbox);
  EXPECT_EQ(lost.state, SandboxState::kFailed);
  EXPECT_EQ(lost.reason, "host_removed");
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, doomed.id))), ErrorCode::kNotFound);
  EXPECT_EQ(codeOf(run(store_->setDesired(acme_, sandbox.id, DesiredState::kRunning, Millis(0)))),
            ErrorCode::kFailedPrecondition);
  const auto gone = run(store_->setDesired(acme_, sandbox.id, DesiredState::kDeleted, Millis(0))).value();
  EXPECT_EQ(gone.state, SandboxState::kDeleted) << "nobody is left to confirm it";
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, sandbox.id))), ErrorCode::kNotFound);
}

TEST_F(HostStore, CordonsAndForgivesFailuresWithTheCordonsEnd) {
  const auto host = addHost(acme_);
  connect(host);
  const auto blueprint = addBlueprint(acme_);
  for (const char* name : {"a", "b", "c"}) {
    clock_.advance(Millis(1));
    const auto s = sandboxOn(acme_, host, blueprint, name);
    ASSERT_TRUE(run(store_->insertSandbox(acme_, s)));
    observe(s, 1, 1, SandboxState::kFailed, "runtime_error");
    observe(s, 1, 2, SandboxState::kFailed, "runtime_error");  // said again: counts once
  }
  auto read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_EQ(read.trial.failures, 3);
  EXPECT_EQ(read.trial.restsUntil, now() + kFirstRest);
  EXPECT_EQ(read.version, 1) << "what creations say does not touch the version";
  read = run(store_->updateHost(acme_, host.id, {{}, {}, true}, 1)).value();
  EXPECT_TRUE(read.cordoned);
  EXPECT_EQ(read.trial.failures, 3);
  read = run(store_->updateHost(acme_, host.id, {{}, {}, false}, 2)).value();
  EXPECT_FALSE(read.cordoned);
  EXPECT_EQ(read.trial, HostTrial{});
  EXPECT_EQ(run(store_->updateHost(acme_, host.id, {{}, {}, false}, 3)).value().version, 3) << "no change";
}

TEST_F(HostStore, TellsWhatIsPromisedOnEachHost) {
  const auto sandbox = addSandbox(acme_);
  const auto idle = addHost(acme_, "idle");
  const auto loads = run(store_->hostLoads(acme_.tenantId, {idle.clusterId, {}, sandbox.spec.manifest})).value();
  ASSERT_EQ(loads.size(), 2U);
  for (const auto& load : loads) {
    EXPECT_EQ(load.memoryBytes, load.host.id == idle.id ? 0U : sandbox.spec.resources.memoryBytes);
    EXPECT_EQ(load.cpuMillis, load.host.id == idle.id ? 0U : sandbox.spec.resources.cpuMillis);
    EXPECT_EQ(load.host.sandboxCount, load.host.id == idle.id ? 0 : 1);
    EXPECT_FALSE(load.holdsBlueprint) << "it has not run yet";
    EXPECT_FALSE(load.beingTried) << "no host is on trial";
  }
  observe(sandbox, 1, 1, SandboxState::kRunning);
  const Store::HostQuery same{idle.clusterId, sandbox.hostId, sandbox.spec.manifest};
  EXPECT_TRUE(run(store_->hostLoads(acme_.tenantId, same)).value().at(0).holdsBlueprint);
  const Store::HostQuery other{idle.clusterId, sandbox.hostId, Digest::of("other")};
  EXPECT_FALSE(run(store_->hostLoads(acme_.tenantId, other)).value().at(0).holdsBlueprint);
  EXPECT_EQ(run(store_->hostLoads(acme_.tenantId, {idle.clusterId, idle.id})).value().size(), 1U);
}

TEST_F(HostStore, KeepsAndClearsTheFlagOfADuplicateIdentity) {
  const auto host = addHost(acme_);
  const auto since = now();
  ASSERT_TRUE(run(store_->flagDuplicateIdentity(host.id, now())));
  clock_.advance(std::chrono::minutes(14));
  ASSERT_TRUE(run(store_->flagDuplicateIdentity(host.id, now())));
  clock_.advance(std::chrono::minutes(14));
  ASSERT_TRUE(run(store_->clearDuplicateIdentities(now() - std::chrono::minutes(15))));
  auto read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_EQ(read.duplicateSince, since) << "it showed 14 minutes ago";
  EXPECT_EQ(read.version, 2);
  clock_.advance(std::chrono::minutes(2));
  ASSERT_TRUE(run(store_->clearDuplicateIdentities(now() - std::chrono::minutes(15))));
  ASSERT_TRUE(run(store_->clearDuplicateIdentities(now() - std::chrono::minutes(15))));
  read = run(store_->getHost(acme_.tenantId, host.id)).value();
  EXPECT_FALSE(read.duplicateSince);
  EXPECT_EQ(read.version, 3);
  const auto actions = auditActions(acme_);
  EXPECT_EQ(std::ranges::count(actions, "host.duplicate_identity"), 1) << "once, however often it shows";
  EXPECT_EQ(std::ranges::count(actions, "host.identity_unique"), 1);
  EXPECT_TRUE(run(store_->flagDuplicateIdentity(HostId::make(), now()))) << "an unknown host is no error";
}

}  // namespace
}  // namespace gs

#include "server/gateway/gateway_hub.h"

#include "server/gateway/gateway_fixture.h"

namespace gs {
namespace {

class HubTest : public GatewayTest {
 public:
  std::vector<std::shared_ptr<WebSocket>> kept_;
  SecretString token_;
  // A host that has enrolled.
  void withHost(std::function<Task<void>(TestIdentity)> body) {
    const auto token = newToken(10);
    token_ = token;
    cluster_ = defaultCluster(acme_);
    withGateway([&, token]() -> Task<void> {
      auto identity = co_await enroll(token);
      EXPECT_TRUE(identity.has_value());
      if (identity) co_await body(std::move(*identity));
    });
  }
  Task<ScriptedAgent> connected(TestIdentity identity, std::vector<AssignmentVersion> held = {},
                                std::vector<std::string> features = {"exec"}) {
    auto socket = co_await dial(identity);
    EXPECT_TRUE(socket.has_value()) << socket.error().describe();
    ScriptedAgent agent{socket.value_or(nullptr)};
    if (agent.socket) {
      const auto hello = co_await agent.hello(std::move(held), std::move(features));
      EXPECT_TRUE(hello.has_value()) << hello.error().describe();
    }
    co_return agent;
  }
  // That of an agent which says that it holds that one sandbox.
  Task<ScriptedAgent> holding(TestIdentity identity, SandboxRecord sandbox) {
    ScriptedAgent agent{(co_await dial(identity)).value()};
    EXPECT_TRUE(co_await agent.hello({{sandbox.id, 1}}, {"adoption"}));
    EXPECT_TRUE(co_await agent.next<InventoryRequest>());
    EXPECT_TRUE(co_await agent.send(Inventory{{{sandbox.id, 1}}}));
    EXPECT_TRUE(co_await agent.next<HeldRequest>());
    EXPECT_TRUE(co_await agent.send(HeldSandbox{assignmentFor(sandbox), std::nullopt}));
    co_return agent;
  }
  Task<HostRecord> host(const HostId& id) { co_return (co_await store_->getHost(acme_.tenantId, id)).value(); }
  // The record changes a moment after the link does.
  Task<HostRecord> hostOnce(HostId id, HostState state) {
    for (const auto deadline = soon();;) {
      auto record = co_await host(id);
      if (record.state == state || deadline.expired()) co_return record;
    }
  }
  Task<SandboxRecord> insert(SandboxRecord record) {
    EXPECT_TRUE((co_await store_->insertSandbox(acme_, record)).has_value());
    co_return record;
  }
  static Assignment assignmentFor(const SandboxRecord& s) {
    return {s.id, static_cast<std::uint64_t>(s.generation), s.desired, s.spec, s.stopGrace, std::nullopt};
  }
  Task<std::shared_ptr<WebSocket>> openChannel(TestIdentity identity, std::string ticket) {
    auto socket = co_await dial(identity, "/agent/v1/channel", std::string(kChannelSubprotocol), std::move(ticket));
    EXPECT_TRUE(socket.has_value()) << socket.error().describe();
    co_return socket.value_or(nullptr);
  }
};

TEST_F(HubTest, BringsALinkUpAndAcknowledgesHeartbeats) {
  withHost([&](TestIdentity identity) -> Task<void> {
    auto agent = co_await connected(identity);
    EXPECT_TRUE(hub_->isConnected(identity.host));
    EXPECT_GT(agent.epoch, 0U);
    EXPECT_EQ((co_await host(identity.host)).state, HostState::kConnected);
    Heartbeat beat{7, {}};
    beat.telemetry.uptimeSeconds = 42;
    EXPECT_TRUE(co_await agent.send(beat));
    EXPECT_EQ((co_await agent.next<HeartbeatAck>())->sequence, 7U);
    real_.advance(Millis(1'000));
    EXPECT_TRUE(co_await agent.send(beat));
    EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
    FactsChanged changed;
    changed.facts.architecture = "amd64";
    changed.facts.agentVersion = "9.9";
    EXPECT_TRUE(co_await agent.send(changed));
    // Messages of one link are taken in order.
    EXPECT_TRUE(co_await agent.send(beat));
    EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
    EXPECT_EQ((co_await host(identity.host)).facts.agentVersion, "9.9");
    EXPECT_EQ((co_await host(identity.host)).telemetry.uptimeSeconds, 42U);
    co_await agent.socket->close(1000, "");
    EXPECT_EQ((co_await hostOnce(identity.host, HostState::kDisconnected)).disconnectReason, "link_closed");
    EXPECT_FALSE(hub_->isConnected(identity.host));
  });
}

TEST_F(HubTest, ClosesWhatIsNotTheProtocolWithItsCode) {
  withHost([&](TestIdentity identity) -> Task<void> {
    ScriptedAgent agent{(co_await dial(identity)).value()};
    EXPECT_TRUE(co_await agent.send(Heartbeat{}));
    EXPECT_EQ(co_await agent.closeCode(), 4400);
    agent.socket = (co_await dial(identity)).value();
    Hello hello;
    hello.facts.architecture = "amd64";
    hello.protocol = 2;
    hello.assignmentsDigest = assignmentsDigest({});
    EXPECT_TRUE(co_await agent.send(hello));
    EXPECT_EQ(co_await agent.closeCode(), 4426);
    agent.socket = (co_await dial(identity)).value();
    EXPECT_TRUE(co_await agent.socket->write("\xff\xff\xff"));
    EXPECT_EQ(co_await agent.closeCode(), 1007);
    agent = co_await connected(identity);
    EXPECT_TRUE(co_await agent.socket->write("\xff\xff\xff"));
    EXPECT_EQ(co_await agent.closeCode(), 1007);
    agent = co_await connected(identity);
    EXPECT_TRUE(co_await agent.socket->write(std::string(300 * 1024, 'x')));
    EXPECT_EQ(co_await agent.closeCode(), 1009);
    agent = co_await connected(identity);
    hello.protocol = 1;
    EXPECT_TRUE(co_await agent.send(hello));
    EXPECT_EQ(co_await agent.closeCode(), 4400);
  });
}

TEST_F(HubTest, WaitsForAHelloOnlySoLong) {
  settings_.helloTimeout = Millis(50);
  withHost([&](TestIdentity identity) -> Task<void> {
    ScriptedAgent agent{(co_await dial(identity)).value()};
    EXPECT_EQ(co_await agent.closeCode(), 4408);
  });
}

TEST_F(HubTest, RefusesHostsThatAreUnknownOrRemoved) {
  withHost([&](TestIdentity identity) -> Task<void> {
    TestIdentity stranger = identity;
    stranger.key = generatePrivateKeyPem().value();
    stranger.certificate = authority_->issueClient(makeCsrPem(stranger.key, "x").value(), HostId::make())->pem;
    EXPECT_EQ(co_await ScriptedAgent{(co_await dial(stranger)).value()}.closeCode(), 4401);
    TestIdentity bare = identity;
    bare.certificate.clear();
    bare.key = SecretString();
    EXPECT_EQ((co_await dial(bare)).error().code, ErrorCode::kUnauthenticated);
    auto agent = co_await connected(identity);
    EXPECT_TRUE(co_await store_->removeHost(acme_, identity.host, Store::RemoveHost::kOnlyWhenEmpty));
    hub_->cut(identity.host, 4403, "host revoked");
    EXPECT_FALSE(hub_->isConnected(identity.host));
    EXPECT_EQ(co_await agent.closeCode(), 4403);
    EXPECT_EQ(co_await ScriptedAgent{(co_await dial(identity)).value()}.closeCode(), 4403);
  });
}

TEST_F(HubTest, LetsANewerLinkSupersedeTheOlder) {
  withHost([&](TestIdentity identity) -> Task<void> {
    auto older = co_await connected(identity);
    auto newer = co_await connected(identity);
    EXPECT_GT(newer.epoch, older.epoch);
    EXPECT_EQ(co_await older.closeCode(), 4409);
    EXPECT_TRUE(hub_->isConnected(identity.host));
    EXPECT_TRUE(co_await newer.send(Heartbeat{1, {}}));
    EXPECT_TRUE(co_await newer.next<HeartbeatAck>());
    EXPECT_EQ((co_await host(identity.host)).state, HostState::kConnected);
  });
}

TEST_F(HubTest, FlagsTwoAgentsThatTakeTurnsWithOneIdentity) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto takeTurn = [&](std::uint64_t& memory) -> Task<ScriptedAgent> {
      ScriptedAgent agent{(co_await dial(identity)).value()};
      agent.lastEpoch = memory;
      EXPECT_TRUE(co_await agent.hello());
      memory = agent.epoch;
      EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
      EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
      co_return agent;
    };
    std::uint64_t original = 1, copy = 1;
    const auto first = co_await takeTurn(original);
    const auto second = co_await takeTurn(copy);
    EXPECT_FALSE((co_await host(identity.host)).duplicateSince) << "a machine that was set back does the same";
    const auto third = co_await takeTurn(original);
    for (const auto deadline = soon(); !(co_await host(identity.host)).duplicateSince && !deadline.expired();) {
    }
    const auto flagged = co_await host(identity.host);
    EXPECT_TRUE(flagged.duplicateSince);
    EXPECT_EQ(flagged.epoch, static_cast<std::int64_t>(third.epoch)) << "the newest wins all the same";
    kept_ = {first.socket, second.socket, third.socket};
  });
}

TEST_F(HubTest, FlagsNoHostForLostAcknowledgements) {
  withHost([&](TestIdentity identity) -> Task<void> {
    // It never learns its epochs, so it names the one from long ago each time; and it is heard only at the end.
    for (int n = 0; n < 4; ++n) {
      ScriptedAgent agent{(co_await dial(identity)).value()};
      agent.lastEpoch = 7;
      EXPECT_TRUE(co_await agent.hello());
      kept_.push_back(agent.socket);
      if (n < 3) continue;
      EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
      EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
    }
    EXPECT_FALSE((co_await host(identity.host)).duplicateSince);
  });
}

TEST_F(HubTest, NoticesASilentHost) {
  settings_.heartbeat = Millis(100);
  withHost([&](TestIdentity identity) -> Task<void> {
    auto agent = co_await connected(identity);
    EXPECT_EQ((co_await hostOnce(identity.host, HostState::kDisconnected)).disconnectReason, "heartbeat_lost");
    EXPECT_EQ(co_await agent.closeCode(), 4408);
    agent = co_await connected(identity);
    EXPECT_EQ((co_await host(identity.host)).state, HostState::kConnected);
  });
}

TEST_F(HubTest, SendsOnlyWhatDiffersAfterAReconnect) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto a = co_await insert(newSandbox(identity.host, "a"));
    const auto b = co_await insert(newSandbox(identity.host, "b"));
    auto agent = co_await connected(identity);
    EXPECT_TRUE(co_await agent.next<InventoryRequest>());
    const auto unknown = SandboxId::make();
    EXPECT_TRUE(co_await agent.send(Inventory{{{a.id, 1}, {unknown, 3}}}));
    const auto sent = co_await agent.next<Assignment>();
    EXPECT_EQ(sent->sandboxId, b.id);
    EXPECT_EQ(sent->spec, b.spec);
    EXPECT_TRUE(co_await store_->setDesired(acme_, a.id, DesiredState::kStopped, Millis(5)));
    // Both held, one in an older generation.
    agent = co_await connected(identity, {{a.id, 1}, {b.id, 1}});
    EXPECT_TRUE(co_await agent.next<InventoryRequest>());
    EXPECT_TRUE(co_await agent.send(Inventory{{{a.id, 1}, {b.id, 1}}}));
    const auto raised = co_await agent.next<Assignment>();
    EXPECT_EQ(raised->sandboxId, a.id);
    EXPECT_EQ(raised->generation, 2U);
    EXPECT_EQ(raised->desired, DesiredState::kStopped);
    EXPECT_EQ(raised->stopGrace, Millis(5));
    // All as wanted: the next thing that comes is the answer to a heartbeat.
    agent = co_await connected(identity, {{a.id, 2}, {b.id, 1}});
    EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
    auto bytes = co_await agent.socket->read();
    while (bytes && std::holds_alternative<OpenChannels>(decodeServerMessage(*bytes)->body)) bytes = co_await agent.socket->read();
    EXPECT_TRUE(std::holds_alternative<HeartbeatAck>(decodeServerMessage(*bytes)->body));
  });
}

TEST_F(HubTest, SendsAHostWithoutMemoryOnlyWhatAHostCanHaveSaid) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const std::vector<std::string> features{"exec", "archive"};
    const auto kept = co_await insert(newSandbox(identity.host, "kept"));
    const auto moved = co_await insert(newSandbox(identity.host, "moved"));
    auto agent = co_await connected(identity, {}, features);
    for (const auto& id : {kept.id, moved.id}) {
      Observation seen;
      seen.sandboxId = id;
      seen.generation = 1;
      seen.sequence = 7;
      seen.state = SandboxState::kRunning;
      seen.observedAt = now();
      EXPECT_TRUE(co_await agent.send(seen));
      EXPECT_TRUE(co_await agent.next<ObservationAck>());
    }
    // Archived and placed anew, on the same host: what is told of it is of a life that is over.
    EXPECT_TRUE(co_await store_->archive(acme_, moved.id, Millis(5)));
    EXPECT_TRUE(co_await store_->finishArchive(identity.host, moved.id, {2, Digest::of("{}"), "{}", "{}", 100, 10}));
    Store::Placing placing;
    placing.hosts = {moved.clusterId, std::nullopt, moved.spec.manifest};
    placing.choose = [](const std::vector<HostLoad>&) -> Result<std::size_t> { return 0U; };
    const auto restored = co_await store_->restore(acme_, moved.id, placing);
    EXPECT_FALSE(isObservable(restored->state));
    EXPECT_EQ(restored->sequence, 7);
    agent = co_await connected(identity, {}, features);
    EXPECT_TRUE(co_await agent.next<InventoryRequest>());
    EXPECT_TRUE(co_await agent.send(Inventory{}));
    bool isSent = false;
    while (!isSent) {
      const auto sent = co_await agent.next<Assignment>();
      if (!sent) co_return ADD_FAILURE() << "an assignment that cannot be read";
      EXPECT_EQ(sent->known.has_value(), sent->sandboxId == kept.id);
      isSent = sent->sandboxId == moved.id && sent->desired == DesiredState::kRunning;
    }
  });
}

TEST_F(HubTest, TakesTheHostsWordWhenTheDatabaseCameFromABackup) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto s = co_await insert(newSandbox(identity.host));
    const auto stranger = newSandbox(identity.host, "stranger");
    ScriptedAgent agent{(co_await dial(identity)).value()};
    EXPECT_TRUE(co_await agent.hello({{s.id, 1}, {stranger.id, 3}}, {"adoption"}));
    EXPECT_TRUE(co_await agent.next<InventoryRequest>());
    EXPECT_TRUE(co_await agent.send(Inventory{{{s.id, 1, 4}, {stranger.id, 3}}}));
    const auto request = co_await agent.next<HeldRequest>();
    EXPECT_FALSE(hub_->hasReported(identity.host));
    EXPECT_EQ(request->sandboxIds.size(), 2U) << "also of the one whose generation is the same: what it said may be lost";
    Observation seen;
    seen.sandboxId = s.id;
    seen.generation = 1;
    seen.sequence = 4;
    seen.state = SandboxState::kStopped;
    seen.reason = "workload_exited";
    seen.observedAt = now();
    EXPECT_TRUE(co_await agent.send(HeldSandbox{assignmentFor(s), seen}));
    auto held = assignmentFor(stranger);
    held.generation = 3;
    EXPECT_TRUE(co_await agent.send(HeldSandbox{held, std::nullopt}));
    for (const auto deadline = soon(); hub_->unknownSandboxes(identity.host).empty() && !deadline.expired();) co_await sleepFor(Millis(2));
    EXPECT_EQ(hub_->unknownSandboxes(identity.host).at(0).assignment.generation, 3U);
    hub_->sendAssignment(identity.host, held);
    EXPECT_TRUE(hub_->unknownSandboxes(identity.host).empty()) << "it was adopted, and may be deleted on this same link";
    EXPECT_TRUE(hub_->hasReported(identity.host));
    EXPECT_EQ((co_await store_->getSandbox(acme_.tenantId, s.id))->state, SandboxState::kStopped);
  });
}

TEST_F(HubTest, StopsOnAHostWhatIsAnothersByNow) {
  withHost([&](TestIdentity identity) -> Task<void> {
    auto waits = newSandbox(identity.host);
    waits.hostId = {};
    Store::Placing placing;
    placing.hosts.cluster = (co_await host(identity.host)).clusterId;
    placing.choose = [](const auto&) -> Result<std::size_t> {
      return fail(makeError(ErrorCode::kFailedPrecondition, "none").withReason("no_host_fits"));
    };
    placing.noHost = Store::Placing::NoHost::kWait;
    waits = (co_await store_->placeSandbox(acme_, waits, placing)).value();
    auto first = co_await holding(identity, waits);
    const auto claimed = co_await first.next<Assignment>();
    EXPECT_EQ(claimed->desired, DesiredState::kRunning);
    EXPECT_EQ(claimed->generation, 2U);
    auto second = co_await holding((co_await enroll(token_)).value(), waits);
    const auto withdrawn = co_await second.next<Assignment>();
    EXPECT_EQ(withdrawn->sandboxId, waits.id);
    EXPECT_EQ(withdrawn->desired, DesiredState::kStopped);
    EXPECT_EQ(withdrawn->generation, 2U);
    EXPECT_EQ((co_await store_->getSandbox(acme_.tenantId, waits.id))->hostId, identity.host);
  });
}

TEST_F(HubTest, ParksARefusedAssignmentUntilItsNextGeneration) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto box = co_await insert(newSandbox(identity.host));
    auto agent = co_await connected(identity);
    hub_->sendAssignment(identity.host, assignmentFor(box));
    EXPECT_TRUE(co_await agent.next<Assignment>());
    EXPECT_TRUE(co_await agent.send(AssignmentAck{box.id, 1, makeError(ErrorCode::kInvalidArgument, "too much memory")}));
    // Messages of one link are taken in order.
    EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
    EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
    const auto record = (co_await store_->getSandbox(acme_.tenantId, box.id)).value();
    EXPECT_EQ(record.state, SandboxState::kFailed);
    EXPECT_EQ(record.reason, "spec_rejected");
    EXPECT_TRUE(co_await agent.send(Inventory{}));
    EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
    auto bytes = co_await agent.socket->read();
    while (bytes && !std::holds_alternative<HeartbeatAck>(decodeServerMessage(*bytes)->body)) {
      EXPECT_FALSE(std::holds_alternative<Assignment>(decodeServerMessage(*bytes)->body));
      bytes = co_await agent.socket->read();
    }
    EXPECT_TRUE(bytes.has_value());
  });
}

TEST_F(HubTest, TakesObservationsAndAcknowledgesAlsoThoseOfUnknownSandboxes) {
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto box = co_await insert(newSandbox(identity.host));
    auto agent = co_await connected(identity);
    Observation seen;
    seen.sandboxId = box.id;
    seen.generation = 1;
    seen.sequence = 5;
    seen.state = SandboxState::kRunning;
    seen.observedAt = now();
    // Of another link: not looked at.
    EXPECT_TRUE(co_await agent.socket->write(encode(AgentMessage{agent.epoch - 1, seen})));
    EXPECT_TRUE(co_await agent.send(Heartbeat{1, {}}));
    EXPECT_TRUE(co_await agent.next<HeartbeatAck>());
    EXPECT_EQ((co_await store_->getSandbox(acme_.tenantId, box.id))->state, SandboxState::kPlacing);
    EXPECT_TRUE(co_await agent.send(seen));
    const auto ack = co_await agent.next<ObservationAck>();
    EXPECT_EQ(ack->sandboxId, box.id);
    EXPECT_EQ(ack->sequence, 5U);
    EXPECT_EQ((co_await store_->getSandbox(acme_.tenantId, box.id))->state, SandboxState::kRunning);
    seen.sandboxId = SandboxId::make();
    EXPECT_TRUE(co_await agent.send(seen));
    EXPECT_EQ((co_await agent.next<ObservationAck>())->sandboxId, seen.sandboxId);
  });
}

TEST_F(HubTest, CutsALinkWhoseQueueOverflows) {
  settings_.maxOutbound = 5;
  withHost([&](TestIdentity identity) -> Task<void> {
    const auto box = newSandbox(identity.host);
    auto agent = co_await connected(identity);
    for (int i = 0; i < 10; ++i) hub_->sendAssignment(identity.host, assignmentFor(box));
    EXPECT_FALSE(hub_->isConnected(identity.host));
    EXPECT_EQ(co_await agent.closeCode(), 4429);
    EXPECT_EQ(agent.socket->closed().reason, "retry_after_ms=1000");
  });
}

TEST_F(HubTest, GivesOutDownloadsOfAssignedBlueprintsOnly) {
  withHost([&](TestIdentity identity) -> Task<void> {
    auto agent = co_await connected(identity);
    EXPECT_TRUE(co_await agent.send(BlobCredentialRequest{1, blueprint_.manifestDigest}));
    EXPECT_EQ((co_await agent.next<BlobCredentialReply>())->error->code, ErrorCode::kNotFound);
    co_await insert(newSandbox(identity.host));
    EXPECT_TRUE(co_await agent.send(BlobCredentialRequest{2, blueprint_.manifestDigest}));
    const auto reply = co_await agent.next<BlobCredentialReply>();
    EXPECT_TRUE(reply.has_value() && !reply->error);
    EXPECT_EQ(reply->manifest, blueprint_.manifest);
    const auto get = [&](Digest digest, std::string credential) -> Task<HttpClientResponse> {
      HttpClientRequest request;
      request.target = "/agent/v1/blobs/" + digest.text();
      request.headers.set("Authorization", "Bearer " + credential);
      co_return (co_await clientOf(identity)->send(std::move(request), soon())).value();
    };
    const std::string credential(reply->credential.reveal());
    const std::string layer(300'000, 'L');
    const auto good = co_await get(Digest::of(layer), credential);
    EXPECT_EQ(good.status, 200);
    EXPECT_EQ(good.body, layer);
    EXPECT_EQ((co_await get(Digest::of("other"), credential)).status, 403);
    EXPECT_EQ((co_await get(Digest::of(layer), credential.substr(0, credential.size() - 1) + "x")).status, 401);
    EXPECT_EQ((co_await get(Digest::of(layer), "")).status, 401);
    real_.advance(std::chrono::minutes(6));
    EXPECT_EQ((co_await get(Digest::of(layer), credential)).status, 401);
  });
}

TEST(BlobCredentials, AreForOneHost) {
  const FakeClock clock;
  BlobCredentials credentials(clock);
  const std::string manifest = fmt::format(
      R"({{"architecture":"amd64","config":{{"digest":"{}","sizeBytes":2}},"formatVersion":1,"layers":[],"os":"linux"}})", Digest::of("{}").text());
  const auto host = HostId::make();
  const auto issued = credentials.issue(host, manifest).value();
  EXPECT_TRUE(credentials.check(issued.credential.reveal(), host, Digest::of("{}")));
  EXPECT_EQ(credentials.check(issued.credential.reveal(), HostId::make(), Digest::of("{}")).error().code, ErrorCode::kUnauthenticated);
  BlobCredentials restarted(clock);
  EXPECT_EQ(restarted.check(issued.credential.reveal(), host, Digest::of("{}")).error().reason, "credential_unknown");
}

TEST_F(HubTest, ParksSpareChannelsForAHostWithSandboxesAndReplacesWhatIsTaken) {
  withHost([&](TestIdentity identity) -> Task<void> {
    co_await insert(newSandbox(identity.host));
    auto agent = co_await connected(identity);
    const auto tickets = (co_await agent.next<OpenChannels>())->tickets;
    EXPECT_EQ(tickets.size(), 2U);
    const auto spare = co_await openChannel(identity, std::string(tickets[0].reveal()));
    // Good once, and for nobody else.
    EXPECT_EQ((co_await dial(identity, "/agent/v1/channel", std::string(kChannelSubprotocol), std::string(tickets[0].reveal()))).error().code, ErrorCode::kUnauthenticated);
    EXPECT_EQ((co_await dial(identity, "/agent/v1/channel", std::string(kChannelSubprotocol), "guess")).error().code, ErrorCode::kUnauthenticated);
    auto taken = co_await hub_->takeChannel(identity.host, soon());
    EXPECT_TRUE(taken.has_value());
    EXPECT_EQ((co_await agent.next<OpenChannels>())->tickets.size(), 1U) << "the other ticket is still out";
    EXPECT_TRUE(co_await (*taken)->write("down"));
    EXPECT_EQ((co_await spare->read()).value(), "down");
    EXPECT_TRUE(co_await spare->write("up"));
    EXPECT_EQ((co_await (*taken)->read()).value(), "up");
    taken->reset();
    EXPECT_FALSE(co_await spare->read()) << "the last reference ends the channel";
  });
}

TEST_F(HubTest, AsksForAChannelWhenNoneIsParkedAndSkipsDeadOnes) {
  settings_.spareChannels = 1;
  withHost([&](TestIdentity identity) -> Task<void> {
    co_await insert(newSandbox(identity.host));
    auto agent = co_await connected(identity);
    auto ticket = (co_await agent.next<OpenChannels>())->tickets.at(0);
    auto dead = co_await openChannel(identity, std::string(ticket.reveal()));
    dead->abort();
    const auto serve = [](TestIdentity id, ScriptedAgent* a, HubTest* test) -> Task<void> {
      for (;;) {
        const auto more = co_await a->next<OpenChannels>();
        if (!more) co_return;
        for (const auto& t : more->tickets) {
          const auto channel = co_await test->openChannel(id, std::string(t.reveal()));
          test->kept_.push_back(channel);
        }
      }
    };
    TaskGroup group(loop_.get_executor());
    group.spawn("agent", serve(identity, &agent, this));
    auto taken = co_await hub_->takeChannel(identity.host, soon());
    EXPECT_TRUE(taken.has_value()) << taken.error().describe();
    if (taken) EXPECT_TRUE((*taken)->isOpen());
    co_await group.cancelAndJoin();
    kept_.clear();
  });
}

TEST_F(HubTest, DropsChannelsWithTheLink) {
  withHost([&](TestIdentity identity) -> Task<void> {
    EXPECT_EQ((co_await hub_->takeChannel(identity.host, soon())).error().code, ErrorCode::kUnavailable);
    co_await insert(newSandbox(identity.host));
    auto agent = co_await connected(identity);
    auto tickets = (co_await agent.next<OpenChannels>())->tickets;
    const auto used = co_await openChannel(identity, std::string(tickets[0].reveal()));
    auto taken = co_await hub_->takeChannel(identity.host, soon());
    const auto parked = co_await openChannel(identity, std::string(tickets[1].reveal()));
    // A reconnect keeps what is in use and drops what is parked.
    auto again = co_await connected(identity);
    EXPECT_FALSE(co_await parked->read());
    EXPECT_TRUE(co_await used->write("still"));
    EXPECT_EQ((co_await (*taken)->read()).value(), "still");
    hub_->cut(identity.host, 4403, "revoked");
    EXPECT_FALSE(co_await used->read());
    EXPECT_EQ(co_await again.closeCode(), 4403);
    EXPECT_EQ((co_await hub_->takeChannel(identity.host, Deadline::after(Millis(10)))).error().code, ErrorCode::kUnavailable);
  });
}

TEST_F(HubTest, GivesUpWaitingForAChannelAtTheDeadline) {
  withHost([&](TestIdentity identity) -> Task<void> {
    auto agent = co_await connected(identity);
    EXPECT_EQ((co_await hub_->takeChannel(identity.host, Deadline::after(Millis(30)))).error().code, ErrorCode::kDeadlineExceeded);
    auto plain = co_await connected(identity, {}, {});
    EXPECT_EQ((co_await hub_->takeChannel(identity.host, soon())).error().code, ErrorCode::kUnavailable) << "no feature exec";
  });
}

}  // namespace
}  // namespace gs

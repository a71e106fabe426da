#include "server/sessions/splicing_broker.h"

#include <nlohmann/json.hpp>

#include "async/task_group.h"
#include "base/json.h"
#include "server/sessions/memory_web_socket.h"
#include "server/store/store_fixture.h"
#include "wire/messages.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

using Type = SessionFrameType;

// Gives out the channels that the test put in.
class FakeHub final : public LinkHub {
 public:
  [[nodiscard]] bool isConnected(const HostId&) const override { return true; }
  void sendAssignment(const HostId&, const Assignment&) override {}
  void cut(const HostId&, std::uint16_t, std::string) override {}
  Task<Result<std::shared_ptr<WebSocket>>> takeChannel(HostId host, Deadline) override {
    asked = host;
    if (channels.empty()) co_return fail(problem);
    auto channel = channels.front();
    channels.erase(channels.begin());
    co_return channel;
  }
  std::vector<HeldSandbox> unknownSandboxes(const HostId&) const override { return {}; }
  Task<Result<std::uint32_t>> rejectDeletions(HostId, std::string, Deadline) override { co_return fail(problem); }
  Task<Result<std::uint32_t>> confirmDeletions(HostId, std::string, Deadline) override { co_return fail(problem); }
  HostId asked;
  std::vector<std::shared_ptr<WebSocket>> channels;
  Error problem = makeError(ErrorCode::kUnavailable, "the host is not connected");
};

class BrokerTest : public StoreTest {
 protected:
  using Socket = std::shared_ptr<MemoryWebSocket>;

  void SetUp() override {
    StoreTest::SetUp();
    acme_.role = Role::kMember;
    sandbox_ = addSandbox(acme_);
    observe(sandbox_, 1, 1, SandboxState::kRunning);
  }

  // Runs one session; `body` plays the client and the agent.
  void session(std::function<Task<void>(Socket client, Socket agent)> body) {
    runTask(loop_, scenario(std::move(body)));
  }
  Task<void> scenario(std::function<Task<void>(Socket, Socket)> body) {
    auto [client, clientServerSide] = MemoryWebSocket::pair(loop_.get_executor());
    auto [agent, agentServerSide] = MemoryWebSocket::pair(loop_.get_executor());
    if (giveChannel_) hub_.channels.push_back(agentServerSide);
    agentServerSide.reset();
    broker_ = std::make_unique<SplicingBroker>(*store_, hub_, events_, clock_, settings_);
    TaskGroup group(loop_.get_executor());
    group.spawn("session", broker_->run(acme_, std::move(clientServerSide), std::nullopt));
    co_await body(client, agent);
    client->abort();
    agent->abort();
    co_await group.join();
  }
  static Task<void> send(Socket socket, Type type, std::string payload) {
    EXPECT_TRUE((co_await socket->write(makeSessionFrame(type, payload))).has_value());
  }
  std::string openFrame(std::string more = "") const {
    return R"({"kind":"exec","sandboxId":"box","argv":["cat","--password=hunter2"])" + more + "}";
  }
  static Task<std::string> next(Socket socket) { co_return (co_await socket->read()).value_or("closed"); }
  // Reads to the end; the last frame must be a problem with that code.
  static Task<std::uint16_t> refusal(Socket client, std::string code) {
    const auto frame = co_await next(client);
    EXPECT_EQ(frame.front(), static_cast<char>(Type::kError)) << frame;
    const auto problem = parseJson(std::string_view(frame).substr(1));
    EXPECT_TRUE(problem.has_value());
    if (problem) {
      EXPECT_EQ(problem->value("code", ""), code) << frame;
      EXPECT_EQ(problem->value("instance", ""), "/api/sessions");
    }
    EXPECT_FALSE((co_await client->read()).has_value());
    if (problem) EXPECT_EQ(client->closed().code, 4000 + problem->value("status", 0));
    co_return client->closed().code;
  }

  FakeHub hub_;
  SandboxEvents events_{loop_.get_executor()};
  SessionBrokerSettings settings_;
  std::unique_ptr<SplicingBroker> broker_;
  SandboxRecord sandbox_;
  bool giveChannel_ = true;
};

TEST_F(BrokerTest, CarriesFramesBothWaysAndClosesNormallyAfterTheExit) {
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"env":{"A":"b"},"workingDir":"/w","user":"u")"));
    const auto open = decodeSessionOpen(co_await next(agent));
    EXPECT_TRUE(open.has_value());
    if (!open) co_return;
    EXPECT_EQ(open->sandboxId, sandbox_.id);
    EXPECT_EQ(std::get<ExecSession>(open->kind), (ExecSession{{"cat", "--password=hunter2"}, {"A=b"}, "/w", "u"}));
    EXPECT_EQ(hub_.asked, sandbox_.hostId);
    co_await send(agent, Type::kOpened, R"({"sessionId":"x"})");
    EXPECT_EQ(co_await next(client), "\x10" R"({"sessionId":"x"})");
    co_await send(client, Type::kStdin, "in");
    EXPECT_EQ(co_await next(agent), "\x01" "in");
    co_await send(client, Type::kSignal, R"({"signal":"TERM"})");
    EXPECT_EQ(co_await next(agent), "\x03" R"({"signal":"TERM"})");
    co_await send(client, Type::kStdinEof, "");
    EXPECT_EQ(co_await next(agent), "\x02");
    co_await send(agent, Type::kStdout, std::string(65536, 'o'));
    EXPECT_EQ((co_await next(client)).size(), 65537U);
    co_await send(agent, Type::kStderr, "e");
    EXPECT_EQ(co_await next(client), "\x12" "e");
    co_await send(agent, Type::kExit, R"({"code":3})");
    EXPECT_EQ(co_await next(client), "\x13" R"({"code":3})");
    EXPECT_FALSE(co_await client->read());
    EXPECT_EQ(client->closed().code, 1000);
    EXPECT_FALSE(co_await agent->read());
    EXPECT_EQ(agent->closed().code, 1000);
  });
  const auto lines = run(store_->listAudit(acme_.tenantId, {})).value().items;
  std::string begin, end;
  for (const auto& line : lines) {
    EXPECT_EQ(line.detail.find("hunter2"), std::string::npos) << "arguments may be secret";
    if (line.action == "session.begin") begin = line.detail;
    if (line.action == "session.end") end = line.detail;
  }
  EXPECT_TRUE(begin.ends_with(" exec cat")) << begin;
  EXPECT_TRUE(end.ends_with(R"(exit {"code":3})")) << end;
}

TEST_F(BrokerTest, ASandboxIsInUseWhileASessionIsOpenAndWasUsedAtItsEnd) {
  Store::Lifetime lifetime;
  lifetime.idleStop = Seconds(60);
  EXPECT_TRUE(run(store_->setLifetime(acme_, sandbox_.id, lifetime)));
  clock_.advance(Seconds(30));
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    EXPECT_EQ(broker_->sandboxesInUse(), std::vector{sandbox_.id});
    clock_.advance(Seconds(30));
    co_await send(agent, Type::kExit, R"({"code":0})");
    co_await next(client);
    EXPECT_FALSE(co_await client->read());
  });
  EXPECT_TRUE(broker_->sandboxesInUse().empty());
  EXPECT_EQ(read(sandbox_).activeAt, now());
}

TEST_F(BrokerTest, RefusesWhoMayNotAndWhatIsNotThere) {
  acme_.role = Role::kViewer;
  session([&](Socket client, Socket) -> Task<void> { EXPECT_EQ(co_await refusal(client, "permission_denied"), 4403); });
  acme_.role = Role::kMember;
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, R"({"kind":"exec","sandboxId":"other","argv":["a"]})");
    EXPECT_EQ(co_await refusal(client, "not_found"), 4404);
  });
  const auto rival = addTenant("rival");
  const auto foreign = addSandbox(rival, "foreign");
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, fmt::format(R"({{"kind":"exec","sandboxId":"{}","argv":["a"]}})", foreign.id));
    EXPECT_EQ(co_await refusal(client, "not_found"), 4404);
  });
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, R"({"kind":"exec","sandboxId":"box"})");
    EXPECT_EQ(co_await refusal(client, "invalid_argument"), 4400);
  });
}

TEST_F(BrokerTest, ClosesViolationsWithoutAnErrorFrame) {
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kStdin, "early");
    EXPECT_FALSE(co_await client->read());
    EXPECT_EQ(client->closed().code, 1002);
  });
  struct Row {
    std::string frame;
    std::uint16_t code;
  };
  for (const auto& row : {Row{makeSessionFrame(Type::kOpen, "{}"), 1002}, Row{makeSessionFrame(Type::kResize, ""), 1002},
                          Row{makeSessionFrame(Type::kStdinEof, "x"), 1002}, Row{"\x55", 1002}, Row{"", 1002},
                          Row{makeSessionFrame(Type::kStdout, "x"), 1002}, Row{makeSessionFrame(Type::kSignal, "TERM"), 1007},
                          Row{std::string("\x01") + std::string(65537, 'x'), 1009}}) {
    session([&](Socket client, Socket agent) -> Task<void> {
      co_await send(client, Type::kOpen, openFrame());
      EXPECT_TRUE(co_await agent->read());
      EXPECT_TRUE(co_await client->write(row.frame));
      EXPECT_FALSE(co_await client->read());
      EXPECT_EQ(client->closed().code, row.code);
      EXPECT_FALSE(co_await agent->read()) << "the agent ends the program";
      EXPECT_EQ(agent->closed().code, 1001);
    });
  }
}

TEST_F(BrokerTest, ResizesOnlyWhatHasATerminal) {
  run(store_->linkUp({sandbox_.hostId, 1, {"exec", "terminal"}, {}, {}, now()})).value();
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"terminal":{"rows":24,"columns":80})"));
    const auto open = decodeSessionOpen(co_await next(agent));
    EXPECT_TRUE(open && std::get<ExecSession>(open->kind).terminal == (TerminalSize{24, 80}));
    co_await send(client, Type::kResize, terminalSizeJson({30, 90}));
    EXPECT_EQ(co_await next(agent), makeSessionFrame(Type::kResize, terminalSizeJson({30, 90})));
    co_await send(agent, Type::kResized, terminalSizeJson({30, 90}));
    EXPECT_EQ(co_await next(client), makeSessionFrame(Type::kResized, terminalSizeJson({30, 90})));
    co_await send(client, Type::kResize, R"({"rows":0,"columns":1})");
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1002);
  });
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    co_await next(agent);
    co_await send(client, Type::kResize, terminalSizeJson({30, 90}));
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1002);
  });
}

TEST_F(BrokerTest, RefusesATerminalOnAHostThatKnowsNone) {
  run(store_->linkUp({sandbox_.hostId, 1, {"exec"}, {}, {}, now()})).value();
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"terminal":{"rows":24,"columns":80})"));
    EXPECT_EQ(co_await refusal(client, "failed_precondition"), 4409);
  });
}

TEST_F(BrokerTest, WaitsForTheSandboxToRunWhenAsked) {
  sandbox_ = addSandbox(acme_, "later");
  const std::string open = R"({"kind":"exec","sandboxId":"later","argv":["a"],"waitMs":60000})";
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, open);
    Observation seen;
    seen.sandboxId = sandbox_.id;
    seen.generation = 1;
    seen.sequence = 1;
    seen.state = SandboxState::kRunning;
    EXPECT_TRUE(co_await store_->applyObservation(sandbox_.hostId, seen));
    events_.notify(sandbox_.id);
    EXPECT_TRUE(decodeSessionOpen(co_await next(agent)).has_value());
  });
}

TEST_F(BrokerTest, SaysWhyItDoesNotWait) {
  sandbox_ = addSandbox(acme_, "later");
  const std::string open = R"({"kind":"exec","sandboxId":"later","argv":["a"]})";
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, open);
    EXPECT_EQ(co_await refusal(client, "deadline_exceeded"), 4504);
  });
  observe(sandbox_, 1, 1, SandboxState::kFailed, "blueprint_missing");
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, R"({"kind":"exec","sandboxId":"later","argv":["a"],"waitMs":60000})");
    EXPECT_EQ(co_await refusal(client, "failed_precondition"), 4409);
  });
}

TEST_F(BrokerTest, TellsThatTheHostIsNotThereOrWasLost) {
  giveChannel_ = false;
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_EQ(co_await refusal(client, "unavailable"), 4503);
  });
  hub_.problem = makeError(ErrorCode::kDeadlineExceeded, "no channel");
  session([&](Socket client, Socket) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_EQ(co_await refusal(client, "deadline_exceeded"), 4504);
  });
  giveChannel_ = true;
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    agent->abort();
    EXPECT_EQ(co_await refusal(client, "unavailable"), 4503);
  });
}

TEST_F(BrokerTest, UsesAnotherChannelWhenASpareIsDead) {
  session([&](Socket client, Socket agent) -> Task<void> {
    auto [far, dead] = MemoryWebSocket::pair(loop_.get_executor());
    far->abort();
    hub_.channels.insert(hub_.channels.begin(), dead);
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(decodeSessionOpen(co_await next(agent)).has_value());
  });
}

TEST_F(BrokerTest, PassesOnTheAgentsProblemAndItsStatus) {
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    co_await send(agent, Type::kError, R"({"code":"resource_exhausted","status":429,"instance":"/api/sessions"})");
    EXPECT_EQ(co_await refusal(client, "resource_exhausted"), 4429);
  });
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    EXPECT_TRUE(co_await agent->write("\x01not for clients"));
    EXPECT_EQ(co_await refusal(client, "internal"), 4500);
  });
}

TEST_F(BrokerTest, EndsTheChannelWhenTheClientGoes) {
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    client->abort();
    EXPECT_FALSE(co_await agent->read());
    EXPECT_EQ(agent->closed().code, 1001);
  });
}

TEST_F(BrokerTest, WaitsForTheOpenFrameOnlySoLong) {
  settings_.openTimeout = Millis(20);
  session([&](Socket client, Socket) -> Task<void> { EXPECT_EQ(co_await refusal(client, "deadline_exceeded"), 4408); });
}

TEST_F(BrokerTest, LimitsTheSessionsOfATenantAndStopsWithTheServer) {
  settings_.maxPerTenant = 1;
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame());
    EXPECT_TRUE(co_await agent->read());
    EXPECT_EQ(broker_->checkQuota(acme_.tenantId).error().reason, "too_many");
    EXPECT_TRUE(broker_->checkQuota(TenantId::make()));
    auto [second, serverSide] = MemoryWebSocket::pair(loop_.get_executor());
    TaskGroup group(loop_.get_executor());
    group.spawn("second", broker_->run(acme_, std::move(serverSide), std::nullopt));
    EXPECT_EQ(co_await refusal(second, "resource_exhausted"), 4429);
    co_await group.join();
    co_await broker_->stop();
    EXPECT_FALSE(co_await client->read());
    EXPECT_EQ(client->closed().code, 1001);
    EXPECT_FALSE(co_await agent->read());
  });
  EXPECT_TRUE(broker_->checkQuota(acme_.tenantId));
}

TEST_F(BrokerTest, DropsAnOfferThatTheHostDoesNotKnowAndRefusesADemand) {
  run(store_->linkUp({sandbox_.hostId, 1, {"exec", "terminal"}, {}, {}, now()})).value();
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"reattach":{"client":"me"})"));
    const auto open = decodeSessionOpen(co_await next(agent));
    EXPECT_TRUE(open && !std::get<ExecSession>(open->kind).policy);
    co_await send(client, Type::kAck, sessionOffsetJson(0));
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1002) << "there is nothing to acknowledge in such a session";
  });
  giveChannel_ = false;
  const std::string attach = R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk"})";
  for (const auto& frame : {openFrame(R"(,"reattach":{"detached":true})"), attach}) {
    session([&](Socket client, Socket) -> Task<void> {
      co_await send(client, Type::kOpen, frame);
      EXPECT_EQ(co_await refusal(client, "failed_precondition"), 4409);
    });
  }
}

TEST_F(BrokerTest, NamesTheOwnerAndPassesOnWhatKeepsASession) {
  run(store_->linkUp({sandbox_.hostId, 1, {"exec", "terminal", "reattach"}, {}, {}, now()})).value();
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"reattach":{"client":"me","graceSeconds":5})"));
    const auto open = decodeSessionOpen(co_await next(agent));
    EXPECT_TRUE(open.has_value());
    EXPECT_EQ(std::get<ExecSession>(open->kind).policy,
              (SessionPolicy{acme_.userId.text(), "me", SessionPolicy::Lifetime::kGrace, Seconds(5)}));
    co_await send(client, Type::kAck, sessionOffsetJson(7));
    EXPECT_EQ(co_await next(agent), makeSessionFrame(Type::kAck, sessionOffsetJson(7)));
    co_await send(agent, Type::kInputAck, sessionOffsetJson(9));
    EXPECT_EQ(co_await next(client), makeSessionFrame(Type::kInputAck, sessionOffsetJson(9)));
    co_await send(client, Type::kLeave, sessionDepartureJson(SessionDeparture::kHangUp));
    co_await next(agent);
    co_await agent->close(1000, "");
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1000);
  });
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","outputOffset":3})");
    const auto open = decodeSessionOpen(co_await next(agent));
    EXPECT_TRUE(open.has_value());
    EXPECT_EQ(open->sessionId.text(), "ses_0123456789abcdefghjk");
    EXPECT_EQ(std::get<AttachSession>(open->kind),
              (AttachSession{acme_.userId.text(), AttachSession::Reach::kOwn, "", AttachSession::Mode::kWrite, 3}));
    co_await send(client, Type::kAck, R"({"offset":-1})");
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1002);
  });
}

TEST_F(BrokerTest, LeavesADetachedSessionOnItsOwn) {
  run(store_->linkUp({sandbox_.hostId, 1, {"exec", "reattach"}, {}, {}, now()})).value();
  session([&](Socket client, Socket agent) -> Task<void> {
    co_await send(client, Type::kOpen, openFrame(R"(,"reattach":{"detached":true})"));
    co_await next(agent);
    co_await send(agent, Type::kOpened, R"({"sessionId":"ses_0123456789abcdefghjk"})");
    EXPECT_EQ((co_await next(client)).front(), static_cast<char>(Type::kOpened));
    EXPECT_EQ(co_await next(client), "closed");
    EXPECT_EQ(client->closed().code, 1000);
  });
}

}  // namespace
}  // namespace gs

// A whole gateway on loopback with a real store, a real CA and TLS, and agents that are scripted by the test. Tests only.
#pragma once

#include <boost/asio/io_context.hpp>

#include <filesystem>

#include "async/task_group.h"
#include "base/encoding.h"
#include "net/http_client.h"
#include "net/x509.h"
#include "server/blueprints/file_blob_store.h"
#include "server/gateway/agent_listener.h"
#include "server/identity/credentials.h"
#include "server/store/store_fixture.h"
#include "wire/session_frames.h"

namespace gs {

// The real time, and as much more as the test says.
class ShiftedClock final : public Clock {
 public:
  [[nodiscard]] WallTime wallNow() const override { return real_.wallNow() + shift_; }
  [[nodiscard]] SteadyTime steadyNow() const override { return real_.steadyNow() + shift_; }
  void advance(Millis by) { shift_ += by; }

 private:
  SystemClock real_;
  Millis shift_{0};
};

struct TestIdentity {
  HostId host;
  SecretString key;
  std::string certificate;
  std::string ca;
};

class GatewayTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    root_ = (std::filesystem::temp_directory_path() / ("gs-gateway-" + randomIdChars(12))).string();
    std::filesystem::create_directories(root_);
    EXPECT_TRUE(CertificateAuthority::create(root_ + "/ca", real_).has_value());
    authority_ = CertificateAuthority::load({root_ + "/ca"}, real_).value();
    blobs_ = FileBlobStore::open(root_).value();
    blueprint_ = publishBlueprint();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static Deadline soon() { return Deadline::after(Millis(20'000)); }

  // Everything that needs the gateway runs in one coroutine: its tasks keep the loop busy until it stops.
  void withGateway(std::function<Task<void>()> body) {
    runTask(loop_, scenario(std::move(body)));
  }

  Task<void> scenario(std::function<Task<void>()> body) {
    auto executor = loop_.get_executor();
    SandboxEvents events(executor);
    BlobCredentials credentials(real_);
    EnrollmentService enrollment(*store_, *authority_, real_, enrollmentSettings_);
    GatewayHub hub(executor, *store_, events, credentials, real_, settings_);
    BlockingPool pool(2);
    ArchiveIntake archives(executor, *store_, hub, events, blobs_, pool);
    AgentListenerSettings listenerSettings;
    listenerSettings.port = 0;
    auto listener = AgentListener::start(executor, listenerSettings,
                                         {*store_, *authority_, enrollment, hub, credentials, archives, blobs_, pool, real_});
    EXPECT_TRUE(listener.has_value());
    if (!listener) co_return;
    hub_ = &hub;
    port_ = (*listener)->port();
    std::exception_ptr failure;
    try {
      co_await body();
    } catch (...) {
      failure = std::current_exception();
    }
    co_await hub.stop();
    co_await (*listener)->stop();
    if (failure) std::rethrow_exception(failure);
  }

  SecretString newToken(std::int64_t uses = 1) {
    TokenRecord token;
    token.id = TokenId::make();
    token.tenantId = acme_.tenantId;
    token.clusterId = defaultCluster(acme_);
    token.maxUses = uses;
    token.createdAt = real_.wallNow();
    token.expiresAt = real_.wallNow() + std::chrono::hours(1);
    auto minted = mintProvisioningToken(token.id, authority_->pin());
    token.secretHash = minted.hash;
    EXPECT_TRUE(run(store_->insertToken(acme_, token)).has_value());
    return minted.text;
  }

  BlueprintRecord publishBlueprint() {
    const std::string config = "{}";
    const std::string layer(300'000, 'L');
    for (const auto& bytes : {config, layer}) {
      auto staged = blobs_->stage().value();
      EXPECT_TRUE(staged->append(bytes).has_value());
      EXPECT_TRUE(blobs_->publish(*staged).has_value());
    }
    BlueprintRecord record;
    record.id = BlueprintId::make();
    record.tenantId = acme_.tenantId;
    record.name = "debian";
    record.manifest = fmt::format(R"({{"architecture":"amd64","config":{{"digest":"{}","sizeBytes":2}},"formatVersion":1,)"
                                  R"("layers":[{{"digest":"{}","sizeBytes":300000}}],"os":"linux"}})",
                                  Digest::of(config).text(), Digest::of(layer).text());
    record.manifestDigest = Digest::of(record.manifest);
    record.imageConfig = config;
    record.architecture = "amd64";
    record.os = "linux";
    record.archiveDigest = Digest::of("archive");
    record.source = "archive";
    record.createdBy = acme_.userId;
    record.createdAt = now();
    EXPECT_TRUE(run(store_->insertBlueprint(acme_, record)).has_value());
    return record;
  }

  std::unique_ptr<HttpClient> client(TlsClientSettings tls) {
    HttpEndpoint endpoint;
    endpoint.host = "127.0.0.1";
    endpoint.port = port_;
    endpoint.secure = true;
    endpoint.tls = makeTlsClientContext(tls).value();
    return makeHttpClient(loop_.get_executor(), std::move(endpoint), 0);
  }
  std::unique_ptr<HttpClient> clientOf(const TestIdentity& identity) {
    return client({identity.ca, "", identity.certificate, identity.key});
  }

  // The answer's body when it was 200, else the Status in it.
  static Task<Result<std::string>> post(std::unique_ptr<HttpClient> client, std::string target, std::string body) {
    HttpClientRequest request;
    request.method = "POST";
    request.target = std::move(target);
    request.headers.set("Content-Type", "application/x-protobuf");
    request.body = std::move(body);
    auto response = co_await client->send(std::move(request), soon());
    if (!response) co_return fail(std::move(response).error());
    if (response->status == 200) co_return std::move(response->body);
    auto status = decodeStatus(response->body);
    if (!status) co_return fail(ErrorCode::kInternal, fmt::format("{} without a status", response->status));
    co_return fail(std::move(*status));
  }

  Task<Result<TestIdentity>> enroll(SecretString token, std::string csr = "") {
    TestIdentity out;
    out.key = generatePrivateKeyPem().value();
    if (csr.empty()) csr = makeCsrPem(out.key, "ignored").value();
    EnrollRequest request{std::move(token), std::move(csr), "rack", {}};
    request.facts.architecture = "amd64";
    auto body = co_await post(client({"", authority_->pin(), "", {}}), "/agent/v1/enroll", encode(request));
    if (!body) co_return fail(std::move(body).error());
    auto response = decodeEnrollResponse(*body);
    if (!response) co_return fail(std::move(response).error());
    out.host = response->hostId;
    out.certificate = response->certificatePem;
    out.ca = response->caPem;
    co_return out;
  }

  Task<Result<std::shared_ptr<WebSocket>>> dial(const TestIdentity& identity, std::string target = "/agent/v1/link",
                                                std::string subprotocol = std::string(kLinkSubprotocol),
                                                std::string ticket = "") {
    const auto http = clientOf(identity);
    HttpClient::WebSocketRequest request;
    request.target = std::move(target);
    request.subprotocol = std::move(subprotocol);
    if (!ticket.empty()) request.headers.set("X-Gstacks-Ticket", std::move(ticket));
    co_return co_await http->connectWebSocket(std::move(request), soon());
  }

  SandboxRecord newSandbox(const HostId& host, std::string name = "box") const {
    SandboxRecord s;
    s.id = SandboxId::make();
    s.tenantId = acme_.tenantId;
    s.clusterId = cluster_;
    s.hostId = host;
    s.name = std::move(name);
    s.blueprintId = blueprint_.id;
    s.spec.name = s.name;
    s.spec.manifest = blueprint_.manifestDigest;
    s.spec.blueprintName = blueprint_.name;
    s.state = SandboxState::kPlacing;
    s.createdBy = acme_.userId;
    s.createdAt = now();
    s.updatedAt = now();
    return s;
  }

  ShiftedClock real_;
  std::string root_;
  std::unique_ptr<CertificateAuthority> authority_;
  std::shared_ptr<FileBlobStore> blobs_;
  BlueprintRecord blueprint_;
  ClusterId cluster_;
  EnrollmentSettings enrollmentSettings_;
  GatewaySettings settings_;
  GatewayHub* hub_ = nullptr;
  std::uint16_t port_ = 0;
};

// The agent's side of a link, message by message.
struct ScriptedAgent {
  std::shared_ptr<WebSocket> socket;
  std::uint64_t epoch = 0;
  std::uint64_t lastEpoch = 0;  // named in the hello

  Task<Status> send(decltype(AgentMessage::body) body) {
    co_return co_await socket->write(encode(AgentMessage{epoch, std::move(body)}));
  }
  // The next message of that kind; others are passed over.
  template <class T>
  Task<Result<T>> next() {
    for (;;) {
      auto bytes = co_await socket->read();
      if (!bytes) co_return fail(std::move(bytes).error());
      auto message = decodeServerMessage(*bytes);
      if (!message) co_return fail(std::move(message).error());
      if (auto* wanted = std::get_if<T>(&message->body)) co_return std::move(*wanted);
    }
  }
  Task<Status> hello(std::vector<AssignmentVersion> held = {}, std::vector<std::string> features = {"exec"}) {
    Hello hello;
    hello.features = std::move(features);
    hello.facts.architecture = "amd64";
    hello.assignmentsDigest = assignmentsDigest(std::move(held));
    hello.lastEpoch = lastEpoch;
    GS_CO_CHECK(co_await send(std::move(hello)));
    GS_CO_TRY(const auto ack, co_await next<HelloAck>());
    epoch = lastEpoch = ack.epoch;
    co_return Status();
  }
  Task<std::uint16_t> closeCode() {
    while (co_await socket->read()) {
    }
    co_return socket->closed().code;
  }
};

}  // namespace gs

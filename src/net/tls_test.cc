#include "base/digest.h"
#include "net/net_fixture.h"
#include "net/x509.h"

namespace gs {
namespace {

struct Authority {
  explicit Authority(const std::string& name = "gstacks test CA") {
    key = generatePrivateKeyPem().value();
    certificate = makeCaCertificatePem(key, name, SystemClock().wallNow()).value();
  }
  [[nodiscard]] std::string pin() const { return parseCertificate(certificate).value().spkiSha256; }

  struct Identity {
    SecretString key;
    std::string certificate;
  };
  [[nodiscard]] Identity issue(CertificateUse use, std::string name, Millis shift = Millis(0),
                               std::vector<std::string> alt = {"127.0.0.1", "localhost"}) const {
    Identity out{generatePrivateKeyPem().value(), {}};
    CertificateOrder order;
    order.csrPem = makeCsrPem(out.key, "x").value();
    order.commonName = std::move(name);
    order.use = use;
    order.subjectAltNames = std::move(alt);
    order.now = SystemClock().wallNow() + shift;
    order.validity = std::chrono::hours(24);
    out.certificate = signCertificate(certificate, key, order).value().pem;
    return out;
  }

  SecretString key;
  std::string certificate;
};

Task<HttpResponse> tellPeer(HttpRequest& request, BodyReader& body) {
  HttpResponse response;
  if (request.webSocketUpgrade) {
    response.upgrade = HttpResponse::Upgrade{.subprotocol = "s", .keepAlive = {}, .run = {}};
    response.upgrade->run = [](std::shared_ptr<WebSocket> socket) -> Task<void> {
      while (auto message = co_await socket->read()) {
        if (!co_await socket->write(*message)) break;
      }
    };
    co_return response;
  }
  if (request.method == "PUT") {
    response.body = std::to_string(co_await countPattern(body));
  } else if (request.path == "/stream") {
    response.stream = std::make_unique<PatternSource>(64U << 20U, PatternSource::Size::kKnown);
  } else if (const auto& c = request.peer.certificate) {
    response.body = c->commonName + (c->notAfter < SystemClock().wallNow() ? " expired" : "") +
                    (c->notBefore > SystemClock().wallNow() ? " early" : "");
  } else {
    response.body = "nobody";
  }
  co_return response;
}

class TlsTest : public NetFixture {
 protected:
  HttpServerSettings serverSettings(const Authority::Identity& identity) {
    TlsServerSettings tls{identity.certificate + ca_.certificate, identity.key, ca_.certificate};
    HttpServerSettings settings;
    settings.tls = makeTlsServerContext(tls).value();
    return settings;
  }
  HttpServerSettings serverSettings() { return serverSettings(ca_.issue(CertificateUse::kTlsServer, "server")); }

  // The server's word on who the client is, or the error.
  Task<std::string> ask(HttpEndpoint endpoint, TlsClientSettings tls) {
    endpoint.tls = makeTlsClientContext(tls).value();
    const auto answer = co_await client(endpoint)->send({}, soon());
    if (answer) co_return answer->body;
    co_return std::string(errorCodeName(answer.error().code)) + "/" + answer.error().reason;
  }
  TlsClientSettings trusting() {
    return {.caPem = ca_.certificate, .caSpkiSha256 = {}, .certificatePem = {}, .privateKeyPem = {}};
  }
  TlsClientSettings pinning(std::string pin) {
    return {.caPem = {}, .caSpkiSha256 = std::move(pin), .certificatePem = {}, .privateKeyPem = {}};
  }
  TlsClientSettings with(const Authority::Identity& identity) {
    auto settings = trusting();
    settings.certificatePem = identity.certificate;
    settings.privateKeyPem = identity.key;
    return settings;
  }

  Authority ca_;
};

TEST_F(TlsTest, TrustsByCaOrByPinAndRefusesOthers) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        const Authority other;  // the same name, another key
        EXPECT_EQ(co_await ask(endpoint, trusting()), "nobody");
        EXPECT_EQ(co_await ask(endpoint, pinning(ca_.pin())), "nobody");
        EXPECT_EQ(co_await ask(endpoint, pinning(other.pin())), "unauthenticated/tls_pin_mismatch");
        auto both = trusting();
        both.caPem = other.certificate + ca_.certificate;
        EXPECT_EQ(co_await ask(endpoint, both), "nobody") << "trust anchors may overlap";
        both.caPem = other.certificate;
        EXPECT_EQ(co_await ask(endpoint, both), "unauthenticated/tls_untrusted");
      },
      serverSettings());
}

TEST_F(TlsTest, APinDoesNotHelpALeafThatThePinnedCaDidNotSign) {
  const Authority evil;  // sends the right CA certificate along, but has a leaf of its own
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        EXPECT_EQ(co_await ask(endpoint, pinning(ca_.pin())), "unauthenticated/tls_untrusted");
      },
      serverSettings(evil.issue(CertificateUse::kTlsServer, "server")));
}

TEST_F(TlsTest, ThePinOfTheLeafItselfIsNoCa) {
  const auto identity = ca_.issue(CertificateUse::kTlsServer, "server");
  withServer(
      tellPeer,
      [this, identity](HttpEndpoint endpoint) -> Task<void> {
        EXPECT_EQ(co_await ask(endpoint, pinning(parseCertificate(identity.certificate).value().spkiSha256)),
                  "unauthenticated/tls_pin_mismatch");
      },
      serverSettings(identity));
}

TEST_F(TlsTest, ChecksTheHostAndTheUseOfTheServersCertificate) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        EXPECT_EQ(co_await ask(endpoint, trusting()), "unauthenticated/tls_host_mismatch");
        EXPECT_EQ(co_await ask(endpoint, pinning(ca_.pin())), "unauthenticated/tls_host_mismatch");
        endpoint.host = "localhost";
        EXPECT_EQ(co_await ask(endpoint, trusting()), "nobody");
      },
      serverSettings(ca_.issue(CertificateUse::kTlsServer, "127.0.0.1", Millis(0), {"localhost"})));
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        EXPECT_EQ(co_await ask(endpoint, trusting()), "unauthenticated/tls_untrusted")
            << "a client certificate is no server";
      },
      serverSettings(ca_.issue(CertificateUse::kTlsClient, "server")));
}

TEST_F(TlsTest, ToleratesTwoHoursOfSkewInTheServersCertificate) {
  using std::chrono::hours;
  // A certificate begins two hours before its order; the client tolerates two more on either side.
  const std::vector<std::pair<Millis, std::string>> table = {
      {hours(3), "nobody"},  // valid in an hour from now
      {hours(5), "unauthenticated/tls_certificate_time"},
      {-hours(25), "nobody"},  // ended an hour ago
      {-hours(27), "unauthenticated/tls_certificate_time"},
  };
  for (const auto& [shift, expected] : table) {
    withServer(
        tellPeer,
        [this, expected, shift](HttpEndpoint endpoint) -> Task<void> {
          EXPECT_EQ(co_await ask(endpoint, trusting()), expected) << shift.count();
          EXPECT_EQ(co_await ask(endpoint, pinning(ca_.pin())), expected) << shift.count();
        },
        serverSettings(ca_.issue(CertificateUse::kTlsServer, "server", shift)));
  }
}

TEST_F(TlsTest, ReportsTheClientsCertificateWhateverTheTime) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        using std::chrono::hours;
        EXPECT_EQ(co_await ask(endpoint, with(ca_.issue(CertificateUse::kTlsClient, "hst_1"))), "hst_1");
        EXPECT_EQ(co_await ask(endpoint, with(ca_.issue(CertificateUse::kTlsClient, "hst_2", -hours(48)))),
                  "hst_2 expired");
        EXPECT_EQ(co_await ask(endpoint, with(ca_.issue(CertificateUse::kTlsClient, "hst_3", hours(48)))),
                  "hst_3 early");
        EXPECT_EQ(co_await ask(endpoint, with(ca_.issue(CertificateUse::kTlsServer, "hst_4"))),
                  "unauthenticated/tls_certificate_refused")
            << "a server certificate is no client";
        const Authority other;
        EXPECT_EQ(co_await ask(endpoint, with(other.issue(CertificateUse::kTlsClient, "hst_1"))),
                  "unauthenticated/tls_certificate_refused");
      },
      serverSettings());
}

TEST_F(TlsTest, StreamsAndUpgradesOverTls) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        endpoint.tls = makeTlsClientContext(trusting()).value();
        const auto c = client(endpoint);
        HttpClientRequest up;
        up.method = "PUT";
        up.stream = std::make_unique<PatternSource>(64U << 20U, PatternSource::Size::kUnknown);
        EXPECT_EQ((co_await c->send(std::move(up), soon())).value().body, std::to_string(64U << 20U));
        HttpClientRequest down;
        down.target = "/stream";
        auto response = co_await c->open(std::move(down), soon());
        EXPECT_EQ(co_await countPattern(*response.value()), 64 << 20);
        HttpClient::WebSocketRequest request;
        request.target = "/";
        request.subprotocol = "s";
        auto socket = co_await c->connectWebSocket(request, soon());
        EXPECT_TRUE(socket.has_value()) << socket.error().describe();
        if (!socket) co_return;
        for (const std::size_t size : {0U, 1U, 4096U, 16'384U, 65'537U, 262'144U}) {
          const auto message = patternBytes(size);
          EXPECT_TRUE((co_await (*socket)->write(message)).has_value());
          EXPECT_TRUE((co_await (*socket)->read()).value() == message) << size;
        }
      },
      serverSettings());
}

TEST_F(TlsTest, GarbageAndSilenceDoNotHoldTheServer) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        auto silent = co_await connectTcp(endpoint.host, endpoint.port, soon());
        EXPECT_TRUE(silent.has_value());
        const auto answer = co_await rawExchange(endpoint, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        EXPECT_FALSE(answer.contains("HTTP")) << "at most a TLS alert";
        EXPECT_EQ(co_await ask(endpoint, trusting()), "nobody");
        // https without a trust anchor never becomes plain.
        endpoint.secure = true;
        EXPECT_EQ((co_await client(endpoint)->send({}, soon())).error().code, ErrorCode::kFailedPrecondition);
      },
      serverSettings());
}

TEST_F(TlsTest, ANewCertificateServesNewConnectionsOnly) {
  withServer(
      tellPeer,
      [this](HttpEndpoint endpoint) -> Task<void> {
        endpoint.tls = makeTlsClientContext(trusting()).value();
        const auto old = client(endpoint);
        EXPECT_EQ((co_await old->send({}, soon())).value().body, "nobody");
        server_->replaceTls(serverSettings(ca_.issue(CertificateUse::kTlsServer, "s", Millis(0), {"elsewhere"})).tls);
        EXPECT_EQ((co_await old->send({}, soon())).value().body, "nobody");
        EXPECT_EQ(co_await ask(endpoint, trusting()), "unauthenticated/tls_host_mismatch");
      },
      serverSettings());
}

TEST(TlsContext, RefusesWhatCannotBeUsed) {
  const Authority ca;
  const auto identity = ca.issue(CertificateUse::kTlsServer, "s");
  EXPECT_EQ(makeTlsServerContext({"", identity.key, ""}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(makeTlsServerContext({identity.certificate, ca.key, ""}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(makeTlsServerContext({identity.certificate, identity.key, "junk"}).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(makeTlsClientContext({}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(makeTlsClientContext({ca.certificate, ca.pin(), "", {}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(makeTlsClientContext({"", "short", "", {}}).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace gs

#include "server/gateway/agent_listener.h"

#include "base/log.h"
#include "server/blueprints/blob_body.h"
#include "server/gateway/status_response.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr std::size_t kMaxBody = 256 * 1024;
constexpr std::string_view kBlobPath = "/agent/v1/blobs/";
constexpr std::uint16_t kUnknownHost = 4401;
constexpr std::uint16_t kRevoked = 4403;
constexpr Millis kTlsRetry = std::chrono::minutes(1);

Error notHere() { return makeError(ErrorCode::kNotFound, "there is nothing at this path"); }

// Whether the comma-separated list that the client sent has the subprotocol in it.
bool offers(const HttpRequest& request, std::string_view subprotocol) {
  for (const auto& [name, value] : request.headers.all()) {
    if (!std::equal(name.begin(), name.end(), std::string_view("sec-websocket-protocol").begin(),
                    std::string_view("sec-websocket-protocol").end(), [](char a, char b) {
                      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
                    })) {
      continue;
    }
    std::string_view rest = value;
    while (!rest.empty()) {
      auto item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(item.size() + 1, rest.size()));
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with(' ')) item.remove_suffix(1);
      if (item == subprotocol) return true;
    }
  }
  return false;
}

Status checkUpgrade(const HttpRequest& request, std::string_view subprotocol) {
  if (!request.webSocketUpgrade) {
    return fail(makeError(ErrorCode::kInvalidArgument, "this path speaks WebSocket only").withReason("upgrade_required"));
  }
  if (!offers(request, subprotocol)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the subprotocol {} was not offered", subprotocol));
  }
  return {};
}

Task<void> refuseLink(std::shared_ptr<WebSocket> socket, std::uint16_t code, std::string reason) {
  co_await socket->close(code, std::move(reason));
}

}  // namespace

AgentListener::AgentListener(Executor executor, AgentListenerSettings settings, AgentListenerParts parts)
    : settings_(std::move(settings)), parts_(std::move(parts)), tasks_(std::move(executor)) {}
AgentListener::~AgentListener() = default;

Result<std::unique_ptr<AgentListener>> AgentListener::start(Executor executor, AgentListenerSettings settings,
                                                            AgentListenerParts parts) {
  auto listener = std::unique_ptr<AgentListener>(new AgentListener(executor, std::move(settings), std::move(parts)));
  HttpServerSettings http;
  http.address = listener->settings_.address;
  http.port = listener->settings_.port;
  http.maxConnections = listener->settings_.maxConnections;
  GS_TRY(http.tls, listener->freshTls());
  auto* self = listener.get();
  GS_TRY(listener->server_, startHttpServer(executor, std::move(http), [self](HttpRequest& request, BodyReader& body) {
           return self->handle(request, body);
         }));
  listener->tasks_.spawn("listener certificate", listener->renewTls());
  return listener;
}

Task<void> AgentListener::stop() {
  co_await server_->stop();
  co_await tasks_.cancelAndJoin();
}

Result<std::shared_ptr<TlsServerContext>> AgentListener::freshTls() const {
  std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
  for (const auto& name : settings_.names) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  GS_TRY(const auto tls, parts_.authority.issueServer(names));
  return makeTlsServerContext(tls);
}

Task<void> AgentListener::renewTls() {
  const Millis period = parts_.authority.serverLifetime() * 2 / 3;
  for (Millis wait = period;;) {
    co_await sleepFor(wait);
    auto tls = freshTls();
    if (tls) {
      server_->replaceTls(std::move(*tls));
      logInfo("listener_certificate_renewed");
    } else {
      logError("listener_certificate_not_renewed", {{"error", tls.error().describe()}});
    }
    wait = tls ? period : kTlsRetry;
  }
}

Task<HttpResponse> AgentListener::handle(HttpRequest& request, BodyReader& body) {
  const bool get = request.method == "GET";
  if (request.path == "/agent/v1/enroll" || request.path == "/agent/v1/renew") {
    if (request.method == "POST") co_return co_await exchange(request, body);
  } else if (request.path == "/agent/v1/link") {
    if (get) co_return co_await link(request);
  } else if (request.path == "/agent/v1/channel") {
    if (get) co_return co_await channel(request);
  } else if (request.path.starts_with(kBlobPath)) {
    if (get) co_return co_await blob(request);
  } else if (request.path.starts_with(ArchiveIntake::kPath)) {
    if (get || request.method == "PUT") co_return co_await archive(request, body);
  } else {
    co_return statusResponse(notHere());
  }
  auto response = statusResponse(makeError(ErrorCode::kInvalidArgument, "this path has another method"));
  response.status = 405;
  response.headers.set("Allow", request.path == "/agent/v1/enroll" || request.path == "/agent/v1/renew" ? "POST" : "GET");
  co_return response;
}

Task<HttpResponse> AgentListener::exchange(HttpRequest& request, BodyReader& body) {
  auto bytes = co_await readAll(body, kMaxBody);
  if (!bytes) co_return statusResponse(bytes.error());
  auto answer = request.path == "/agent/v1/enroll" ? co_await parts_.enrollment.enroll(std::move(*bytes))
                                                   : co_await parts_.enrollment.renew(request.peer.certificate, std::move(*bytes));
  if (answer) co_return protobufResponse(std::move(*answer));
  auto response = statusResponse(answer.error());
  if (response.status == 503) response.headers.set("Retry-After", "1");
  co_return response;
}

Task<Result<HostRecord>> AgentListener::authenticate(const HttpRequest& request) {
  const auto& certificate = request.peer.certificate;
  if (!certificate) {
    co_return fail(makeError(ErrorCode::kUnauthenticated, "a client certificate is needed").withReason("certificate_required"));
  }
  auto host = HostId::parse(certificate->commonName);
  if (!host) {
    co_return fail(makeError(ErrorCode::kUnauthenticated, "the certificate is not that of a host").withReason("certificate_unknown"));
  }
  if (certificate->notAfter <= parts_.clock.wallNow()) {
    co_return fail(makeError(ErrorCode::kUnauthenticated, "the client certificate has expired")
                       .withReason("certificate_expired")
                       .withFix("renew it at /agent/v1/renew"));
  }
  co_return co_await parts_.store.authenticateHost(std::move(*host), certificate->serialHex);
}

Task<HttpResponse> AgentListener::link(HttpRequest& request) {
  if (auto upgrade = checkUpgrade(request, kLinkSubprotocol); !upgrade) co_return statusResponse(upgrade.error());
  const auto host = co_await authenticate(request);
  HttpResponse response;
  response.upgrade = HttpResponse::Upgrade();
  response.upgrade->subprotocol = kLinkSubprotocol;
  response.upgrade->maxMessageBytes = kMaxLinkFrameBytes;
  // The hub judges silence by the protocol's own heartbeats.
  response.upgrade->keepAlive = {std::chrono::seconds(60), std::chrono::seconds(120)};
  if (!host) {
    const auto& error = host.error();
    const bool revoked = error.code == ErrorCode::kPermissionDenied;
    // The contract tells these two by close code, so that an agent needs one place to look.
    if (!revoked && error.reason != "certificate_unknown") co_return statusResponse(error);
    response.upgrade->run = [code = revoked ? kRevoked : kUnknownHost, reason = error.message](std::shared_ptr<WebSocket> socket) {
      return refuseLink(std::move(socket), code, reason);
    };
    co_return response;
  }
  response.upgrade->run = [hub = &parts_.hub, id = host->id,
                           serial = request.peer.certificate->serialHex](std::shared_ptr<WebSocket> socket) {
    return hub->serveLink(id, serial, std::move(socket));
  };
  co_return response;
}

Task<HttpResponse> AgentListener::channel(HttpRequest& request) {
  if (auto upgrade = checkUpgrade(request, kChannelSubprotocol); !upgrade) co_return statusResponse(upgrade.error());
  const auto host = co_await authenticate(request);
  if (!host) co_return statusResponse(host.error());
  const auto ticket = request.headers.find("X-Gstacks-Ticket");
  if (auto taken = parts_.hub.takeTicket(host->id, ticket.value_or("")); !taken) co_return statusResponse(taken.error());
  HttpResponse response;
  response.upgrade = HttpResponse::Upgrade();
  response.upgrade->subprotocol = kChannelSubprotocol;
  response.upgrade->maxMessageBytes = kMaxSessionPayload + 1;
  response.upgrade->keepAlive = {kChannelPingAfter, kChannelDropAfter};
  response.upgrade->run = [hub = &parts_.hub, id = host->id](std::shared_ptr<WebSocket> socket) {
    return hub->serveChannel(id, std::move(socket));
  };
  co_return response;
}

Task<HttpResponse> AgentListener::archive(HttpRequest& request, BodyReader& body) {
  const auto host = co_await authenticate(request);
  if (!host) co_return statusResponse(host.error());
  co_return co_await parts_.archives.handle(host->id, request, body);
}

Task<HttpResponse> AgentListener::blob(HttpRequest& request) {
  const auto host = co_await authenticate(request);
  if (!host) co_return statusResponse(host.error());
  const auto digest = Digest::parse(std::string_view(request.path).substr(kBlobPath.size()));
  if (!digest) co_return statusResponse(digest.error());
  constexpr std::string_view kBearer = "Bearer ";
  const auto authorization = request.headers.find("Authorization").value_or("");
  const auto credential = authorization.starts_with(kBearer) ? authorization.substr(kBearer.size()) : std::string_view();
  if (auto allowed = parts_.credentials.check(credential, host->id, *digest); !allowed) co_return statusResponse(allowed.error());
  auto body = co_await openBlobBody(parts_.pool, parts_.blobs, *digest);
  if (!body) {
    // A manifest names it, so it should be here.
    logError("blob_missing", {{"digest", digest->text()}, {"error", body.error().describe()}});
    co_return statusResponse(body.error());
  }
  HttpResponse response;
  response.headers.set("Content-Type", "application/octet-stream");
  response.stream = std::move(*body);
  co_return response;
}

}  // namespace gs

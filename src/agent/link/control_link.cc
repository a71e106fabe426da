#include "agent/link/control_link.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <charconv>

#include "agent/link/enrollment.h"
#include "async/backoff.h"
#include "async/with_deadline.h"
#include "base/log.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr Millis kDialTime{15'000};
constexpr Millis kHelloTime{10'000};
constexpr Millis kStable{30'000};
constexpr std::size_t kMostQueued = 8192;
constexpr std::uint64_t kHeartbeatsToAnswer = 3;
constexpr std::uint16_t kCloseUnknown = 4401;
constexpr std::uint16_t kCloseRevoked = 4403;
constexpr std::uint16_t kCloseSuperseded = 4409;
constexpr std::uint16_t kCloseShed = 4429;

// What a close code asks for before the next dial.
Millis holdOffFor(const WsClose& close) {
  switch (close.code) {
    case kCloseUnknown:
    case kCloseRevoked: return Millis(60'000);
    // Another agent runs with this identity. Coming back at once would make the two cut each other for ever.
    case kCloseSuperseded: return Millis(30'000);
    case kCloseShed: {
      constexpr std::string_view kKey = "retry_after_ms=";
      const auto at = close.reason.find(kKey);
      int ms = 5000;
      if (at != std::string::npos) {
        std::from_chars(close.reason.data() + at + kKey.size(), close.reason.data() + close.reason.size(), ms);
      }
      return Millis(std::clamp(ms, 0, 600'000));
    }
    default: return Millis(0);
  }
}

}  // namespace

struct ControlLink::PendingCredential {
  explicit PendingCredential(const Executor& executor) : done(executor) {}
  Event done;
  std::optional<Result<BlobCredentialReply>> reply;
};

Task<Result<std::shared_ptr<WebSocket>>> dialControlLink(Executor executor, HostIdentity identity, Deadline deadline) {
  GS_CO_TRY(auto endpoint, endpointOf(identity));
  const auto client = makeHttpClient(executor, std::move(endpoint), 0);
  HttpClient::WebSocketRequest request;
  request.target = "/agent/v1/link";
  request.subprotocol = std::string(kLinkSubprotocol);
  request.maxMessageBytes = kMaxLinkFrameBytes;
  co_return co_await client->connectWebSocket(std::move(request), deadline);
}

ControlLink::ControlLink(Executor executor, HostIdentity identity, std::uint64_t lastEpoch, LinkDelegate& delegate,
                         LinkDialer dial)
    : executor_(executor),
      identity_(std::move(identity)),
      delegate_(delegate),
      dial_(std::move(dial)),
      lastEpoch_(lastEpoch),
      tasks_(executor) {}

ControlLink::~ControlLink() = default;

void ControlLink::start() {
  tasks_.spawn("control link", run());
  tasks_.spawn("certificate renewal", renewLoop());
}

Task<void> ControlLink::stop() {
  co_await tasks_.cancelAndJoin();
  epoch_ = 0;
  failPending();
}

Task<void> ControlLink::run() {
  Backoff backoff(Millis(500), Millis(30'000));
  while (true) {
    const auto began = std::chrono::steady_clock::now();
    holdOff_ = Millis(0);
    const Status ended = co_await runLink();
    const bool wasUp = epoch_ != 0;
    epoch_ = 0;
    if (wasUp) delegate_.linkDown();
    outgoing_.reset();
    failPending();
    if (std::chrono::steady_clock::now() - began > kStable) backoff.reset();
    const Millis wait = holdOff_ + backoff.next();
    logWarn(wasUp ? "link_lost" : "link_not_made",
            {{"error", ended ? "closed" : ended.error().describe()}, {"retry_in_ms", wait.count()}});
    // An expired certificate can do nothing but renew; that is tried before the next dial.
    if (!ended && ended.error().code == ErrorCode::kUnauthenticated) {
      if (const auto renewed = co_await renewNow(); !renewed) {
        logWarn("renewal_failed", {{"error", renewed.error().describe()}});
      }
    }
    co_await sleepFor(wait);
  }
}

Task<Status> ControlLink::runLink() {
  using namespace asio::experimental::awaitable_operators;
  GS_CO_TRY(const auto socket, co_await dial_(executor_, identity_, Deadline::after(kDialTime)));

  Hello hello;
  hello.features = {"exec", "terminal", "files", "adoption", "deletion_fence", std::string(kFeatureDeletionRejection),
                    std::string(kFeatureReprovision), std::string(kFeatureArchive), std::string(kFeatureLogs),
                    std::string(kFeatureReattach)};
  hello.facts = delegate_.facts();
  hello.telemetry = delegate_.telemetry();
  hello.assignmentsDigest = assignmentsDigest(delegate_.versions());
  hello.lastEpoch = lastEpoch_;
  GS_CO_CHECK(co_await socket->write(encode(AgentMessage{0, std::move(hello)})));
  const auto first = co_await withDeadline(Deadline::after(kHelloTime), "the server's hello", socket->read());
  if (!first) {
    holdOff_ = holdOffFor(socket->closed());
    Error error = first.error();
    if (socket->closed().code >= 4000) {
      error.message = fmt::format("the server closed the link with {}: {}", socket->closed().code,
                                  socket->closed().reason);
      if (socket->closed().code == kCloseUnknown) error.code = ErrorCode::kUnauthenticated;
    }
    socket->abort();
    co_return fail(std::move(error));
  }
  GS_CO_TRY(const auto message, decodeServerMessage(*first));
  const auto* ack = std::get_if<HelloAck>(&message.body);
  if (ack == nullptr) {
    socket->abort();
    co_return fail(ErrorCode::kInternal, "the server's first message is no hello");
  }
  epoch_ = ack->epoch;
  lastEpoch_ = ack->epoch;
  heartbeat_ = ack->heartbeat;
  lastHeard_ = std::chrono::steady_clock::now();
  clockOffset_ = ack->serverTime - SystemClock().wallNow();
  outgoing_ = std::make_unique<Channel<std::string>>(executor_, kMostQueued);
  logInfo("link_up", {{"epoch", epoch_}, {"clock_offset_ms", clockOffset_.count()}});
  delegate_.linkUp(epoch_);
  for (const auto& observation : delegate_.unacknowledged()) sendObservation(observation);

  auto ended = co_await (readLoop(*socket) || writeLoop(*socket) || heartbeatLoop());
  Error error = std::visit([](auto& e) { return std::move(e); }, ended);
  holdOff_ = holdOffFor(socket->closed());
  if (socket->closed().code >= 4000) {
    error.message += fmt::format(" (closed with {}: {})", socket->closed().code, socket->closed().reason);
  }
  socket->abort();
  co_return fail(std::move(error));
}

Task<Error> ControlLink::readLoop(WebSocket& socket) {
  while (true) {
    auto bytes = co_await socket.read();
    if (!bytes) co_return std::move(bytes).error();
    lastHeard_ = std::chrono::steady_clock::now();
    auto message = decodeServerMessage(*bytes);
    if (!message) {
      co_await socket.close(1007, message.error().message);
      co_return std::move(message).error();
    }
    if (message->epoch != epoch_) continue;
    if (auto done = co_await receive(std::move(*message)); !done) co_return std::move(done).error();
  }
}

Task<Error> ControlLink::writeLoop(WebSocket& socket) {
  while (true) {
    auto bytes = co_await outgoing_->pop();
    if (!bytes) co_return makeError(ErrorCode::kResourceExhausted, "the outgoing queue overflowed");
    if (auto done = co_await socket.write(*bytes); !done) co_return std::move(done).error();
  }
}

Task<Error> ControlLink::heartbeatLoop() {
  std::uint64_t sequence = 0;
  while (true) {
    co_await sleepFor(heartbeat_);
    if (std::chrono::steady_clock::now() - lastHeard_ > 3 * heartbeat_) {
      co_return makeError(ErrorCode::kUnavailable, "nothing was heard of the server for three heartbeats");
    }
    send(Heartbeat{++sequence, delegate_.telemetry()});
    if (sequence % kHeartbeatsToAnswer == 0) tellAgain();
  }
}

// A server that cannot store an observation does not acknowledge it, and the link lives on: what was unacknowledged at
// the last look, and still is, is told again.
void ControlLink::tellAgain() {
  std::map<SandboxId, std::uint64_t> unheard;
  for (const auto& observation : delegate_.unacknowledged()) {
    const auto before = unheard_.find(observation.sandboxId);
    if (before != unheard_.end() && before->second == observation.sequence) sendObservation(observation);
    unheard.emplace(observation.sandboxId, observation.sequence);
  }
  unheard_ = std::move(unheard);
}

Task<Status> ControlLink::receive(ServerMessage message) {
  if (auto* assignment = std::get_if<Assignment>(&message.body)) {
    send(co_await delegate_.assign(std::move(*assignment)));
  } else if (const auto* ack = std::get_if<ObservationAck>(&message.body)) {
    delegate_.acknowledge(ack->sandboxId, ack->sequence);
  } else if (std::holds_alternative<InventoryRequest>(message.body)) {
    send(Inventory{delegate_.versions()});
  } else if (auto* channels = std::get_if<OpenChannels>(&message.body)) {
    delegate_.openChannels(std::move(channels->tickets));
  } else if (const auto* request = std::get_if<HeldRequest>(&message.body)) {
    for (const auto& id : request->sandboxIds) {
      if (auto held = delegate_.findHeld(id)) send(std::move(*held));
    }
  } else if (auto* confirmed = std::get_if<ConfirmDeletions>(&message.body)) {
    const auto released = co_await delegate_.confirmDeletions(std::move(confirmed->fenceId));
    ConfirmDeletionsReply reply{confirmed->requestId, std::nullopt, released.value_or(0)};
    if (!released) reply.error = released.error();
    send(std::move(reply));
  } else if (auto* rejected = std::get_if<RejectDeletions>(&message.body)) {
    const auto refused = co_await delegate_.rejectDeletions(std::move(rejected->fenceId));
    ConfirmDeletionsReply reply{rejected->requestId, std::nullopt, refused.value_or(0)};
    if (!refused) reply.error = refused.error();
    send(std::move(reply));
  } else if (auto* reply = std::get_if<BlobCredentialReply>(&message.body)) {
    const auto found = pending_.find(reply->requestId);
    if (found != pending_.end()) {
      found->second->reply.emplace(std::move(*reply));
      found->second->done.notifyAll();
    }
  }
  // A heartbeat's acknowledgement has done its work by arriving; an unknown case is a newer server's business.
  co_return Status();
}

void ControlLink::send(decltype(AgentMessage::body) body) {
  if (epoch_ == 0 || !outgoing_) return;
  // A queue that is full means a link that does not drain: it is given up, and the next hello brings everything.
  if (!outgoing_->tryPush(encode(AgentMessage{epoch_, std::move(body)}))) outgoing_->close();
}

void ControlLink::sendObservation(const Observation& observation) { send(observation); }
void ControlLink::sendFacts(const HostFacts& facts) { send(FactsChanged{facts}); }

Task<Result<BlobCredentialReply>> ControlLink::requestCredential(Digest manifest, Deadline deadline) {
  if (epoch_ == 0) co_return fail(ErrorCode::kUnavailable, "there is no link to the control plane");
  const auto id = nextRequest_++;
  const auto pending = std::make_shared<PendingCredential>(executor_);
  pending_[id] = pending;
  struct Forget {
    ControlLink& link;
    std::uint64_t id;
    ~Forget() { link.pending_.erase(id); }
  } const forget{*this, id};
  send(BlobCredentialRequest{id, std::move(manifest)});
  while (!pending->reply && !deadline.expired()) co_await pending->done.waitUntil(deadline);
  if (!pending->reply) co_return fail(ErrorCode::kDeadlineExceeded, "the credential for a blueprint took too long");
  if (!*pending->reply) co_return std::unexpected(pending->reply->error());
  auto& reply = **pending->reply;
  if (reply.error) co_return fail(std::move(*reply.error));
  co_return std::move(reply);
}

void ControlLink::failPending() {
  for (auto& [id, pending] : pending_) {
    pending->reply.emplace(fail(ErrorCode::kUnavailable, "the link to the control plane went away"));
    pending->done.notifyAll();
  }
}

Task<Status> ControlLink::renewNow() {
  GS_CO_TRY(auto renewed, co_await renewIdentity(executor_, identity_));
  identity_ = std::move(renewed);
  delegate_.identityRenewed(identity_);
  logInfo("certificate_renewed");
  co_return Status();
}

Task<void> ControlLink::renewLoop() {
  Backoff backoff(Millis(1'000), Millis(300'000));
  while (true) {
    const auto due = renewalTime(identity_);
    const auto now = SystemClock().wallNow() + clockOffset_;
    const Millis wait = due ? std::clamp<Millis>(*due - now, Millis(0), Millis(60'000)) : Millis(60'000);
    if (due && *due <= now && epoch_ != 0) {
      const auto renewed = co_await renewNow();
      if (renewed) {
        backoff.reset();
        continue;
      }
      logWarn("renewal_failed", {{"error", renewed.error().describe()}});
      co_await sleepFor(backoff.next() + Millis(100));
      continue;
    }
    // Looked at again at least every minute, because clocks jump and hosts sleep.
    co_await sleepFor(std::max(wait, Millis(200)));
  }
}

}  // namespace gs

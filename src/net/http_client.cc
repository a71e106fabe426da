#include "net/http_client.h"

#include <deque>

#include "net/beast/web_socket_stream.h"
#include "net/http_wire.h"
#include "net/tls_stream.h"

namespace gs {
namespace {

constexpr Millis kMaxIdle{30'000};

Error tooLate(const HttpEndpoint& endpoint, std::string_view what) {
  return makeError(ErrorCode::kDeadlineExceeded, fmt::format("{} {} took too long", what, endpoint.describe()));
}

std::string hostHeader(const HttpEndpoint& endpoint) {
  if (!endpoint.unixPath.empty()) return "localhost";
  const bool v6 = endpoint.host.contains(':');
  const auto host = v6 ? "[" + endpoint.host + "]" : endpoint.host;
  const int usual = endpoint.tls ? 443 : 80;
  return endpoint.port == usual ? host : fmt::format("{}:{}", host, endpoint.port);
}

bool isIdempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

Task<Result<std::unique_ptr<Connection>>> connectTo(HttpEndpoint endpoint, Deadline deadline) {
  if (!endpoint.unixPath.empty()) {
    GS_CO_TRY(auto socket, co_await connectUnixSocket(endpoint.unixPath, deadline));
    co_return makeSocketStream(std::move(socket), PeerInfo{"unix", {}});
  }
  if (endpoint.secure && !endpoint.tls) {
    co_return fail(ErrorCode::kFailedPrecondition, "no certificate authority is configured for " + endpoint.describe());
  }
  GS_CO_TRY(auto socket, co_await connectTcp(endpoint.host, endpoint.port, deadline));
  if (endpoint.tls) co_return co_await connectTls(std::move(socket), endpoint.tls, endpoint.host, deadline);
  auto peer = PeerInfo{describePeer(socket), {}};
  co_return makeSocketStream(std::move(socket), std::move(peer));
}

struct ClientConnection {
  explicit ClientConnection(std::unique_ptr<Connection> s)
      : stream(std::move(s)), reader(*stream, HttpParser::Side::kResponse), watchdog(stream->executor(), *stream) {}

  std::unique_ptr<Connection> stream;
  HttpReader reader;
  Watchdog watchdog;
  SteadyTime idleSince;
  bool reused = false;
};
using ConnectionPtr = std::unique_ptr<ClientConnection>;

class IdlePool {
 public:
  explicit IdlePool(std::size_t most) : most_(most) {}

  ConnectionPtr take() {
    const auto oldest = std::chrono::steady_clock::now() - kMaxIdle;
    std::erase_if(idle_, [&](const auto& c) { return c->idleSince < oldest; });
    while (!idle_.empty()) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      // An idle connection on which something waits was closed, or has bytes that belong to no request.
      if (connection->stream->readable()) continue;
      connection->reused = true;
      return connection;
    }
    return nullptr;
  }
  void give(ConnectionPtr connection) {
    if (most_ == 0) return;
    if (idle_.size() >= most_) idle_.pop_front();
    connection->watchdog.disarm();
    connection->idleSince = std::chrono::steady_clock::now();
    idle_.push_back(std::move(connection));
  }

 private:
  std::size_t most_;
  std::deque<ConnectionPtr> idle_;
};

// Ends early when the peer answers before it has taken the whole body (a refusal): going on would only block.
class InterruptibleSource final : public BodySource {
 public:
  InterruptibleSource(BodySource& inner, const Connection& stream) : inner_(inner), stream_(stream) {}
  Task<Result<std::string>> next() override {
    begun_ = true;
    if (stream_.readable()) co_return fail(ErrorCode::kUnavailable, "the peer answered before the end of the body");
    auto piece = co_await inner_.next();
    failed_ = !piece;
    co_return piece;
  }
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return inner_.sizeBytes(); }
  [[nodiscard]] bool begun() const { return begun_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  BodySource& inner_;
  const Connection& stream_;
  bool begun_ = false;
  bool failed_ = false;
};

struct Exchange {
  ConnectionPtr connection;
  HttpHead head;
  bool reusable = false;
};

class StreamingResponse final : public HttpStreamingResponse {
 public:
  StreamingResponse(Exchange exchange, std::shared_ptr<IdlePool> pool)
      : exchange_(std::move(exchange)), pool_(std::move(pool)) {
    if (exchange_.head.framing == HttpHead::Framing::kLength) length_ = exchange_.head.length;
    if (exchange_.head.framing == HttpHead::Framing::kNone) length_ = 0;
    finishWhenDone();
  }
  Task<Result<std::string>> next() override {
    if (!exchange_.connection) co_return std::string();
    auto piece = co_await exchange_.connection->reader.nextPiece();
    finishWhenDone();
    co_return piece;
  }
  [[nodiscard]] int status() const override { return exchange_.head.status; }
  [[nodiscard]] const HttpHeaders& headers() const override { return exchange_.head.headers; }
  [[nodiscard]] std::optional<std::uint64_t> contentLength() const override { return length_; }

 private:
  void finishWhenDone() {
    auto& connection = exchange_.connection;
    if (!connection || !connection->reader.bodyDone()) return;
    if (exchange_.reusable && !connection->reader.hasBuffered()) pool_->give(std::move(connection));
    connection.reset();
  }

  Exchange exchange_;
  std::shared_ptr<IdlePool> pool_;
  std::optional<std::uint64_t> length_;
};

class PooledHttpClient final : public HttpClient {
 public:
  PooledHttpClient(HttpEndpoint endpoint, std::size_t maxIdle)
      : endpoint_(std::move(endpoint)), pool_(std::make_shared<IdlePool>(maxIdle)) {}

  Task<Result<HttpClientResponse>> send(HttpClientRequest request, Deadline deadline,
                                        std::size_t maxBodyBytes) override {
    GS_CO_TRY(auto exchange, co_await begin(std::move(request), deadline));
    HttpClientResponse out;
    out.status = exchange.head.status;
    out.headers = std::move(exchange.head.headers);
    auto& reader = exchange.connection->reader;
    while (true) {
      auto piece = co_await reader.nextPiece();
      if (!piece && exchange.connection->watchdog.expired()) co_return fail(tooLate(endpoint_, "the answer of"));
      if (!piece) co_return fail(std::move(piece.error()).context("reading the answer of " + endpoint_.describe()));
      if (piece->empty()) break;
      if (out.body.size() + piece->size() > maxBodyBytes) {
        co_return fail(ErrorCode::kResourceExhausted,
                       fmt::format("the answer of {} is larger than {} bytes", endpoint_.describe(), maxBodyBytes));
      }
      out.body = out.body.empty() ? std::move(*piece) : std::move(out.body) + *piece;
    }
    if (exchange.reusable && !reader.hasBuffered()) pool_->give(std::move(exchange.connection));
    co_return out;
  }

  Task<Result<std::unique_ptr<HttpStreamingResponse>>> open(HttpClientRequest request, Deadline deadline) override {
    const auto pool = pool_;
    GS_CO_TRY(auto exchange, co_await begin(std::move(request), deadline));
    exchange.connection->watchdog.disarm();
    co_return std::make_unique<StreamingResponse>(std::move(exchange), pool);
  }

  Task<Result<std::shared_ptr<WebSocket>>> connectWebSocket(WebSocketRequest request, Deadline deadline) override {
    GS_CO_TRY(auto stream, co_await connectTo(endpoint_, deadline));
    WsSettings settings;
    settings.subprotocol = request.subprotocol;
    settings.maxMessageBytes = request.maxMessageBytes;
    settings.keepAlive = request.keepAlive;
    std::string checked;
    GS_CO_CHECK(appendHeaders(checked, request.headers));
    co_return co_await gs::connectWebSocket(std::move(stream), hostHeader(endpoint_), std::move(request.target),
                                            std::move(request.headers), std::move(settings), deadline);
  }

 private:
  Result<std::string> formatHead(const HttpClientRequest& request) const {
    const auto bad = [](unsigned char c) { return c <= 0x20 || c == 0x7f; };
    if (request.method.empty() || std::ranges::any_of(request.method, bad) || !request.target.starts_with('/') ||
        std::ranges::any_of(request.target, bad)) {
      return fail(ErrorCode::kInvalidArgument, "the method or target cannot be sent");
    }
    std::string head = request.method + " " + request.target + " HTTP/1.1\r\n";
    if (!request.headers.find("Host")) head += "Host: " + hostHeader(endpoint_) + "\r\n";
    GS_CHECK(appendHeaders(head, request.headers));
    const auto size = request.stream ? request.stream->sizeBytes() : std::optional<std::uint64_t>(request.body.size());
    if (!size) {
      head += "Transfer-Encoding: chunked\r\n";
    } else if (*size > 0 || request.stream || request.method == "POST" || request.method == "PUT" ||
               request.method == "PATCH") {
      head += fmt::format("Content-Length: {}\r\n", *size);
    }
    return head + "\r\n";
  }

  // Sends the request and reads the head of the answer. The connection's watchdog stays armed.
  Task<Result<Exchange>> begin(HttpClientRequest request, Deadline deadline) {
    GS_CO_TRY(const auto head, formatHead(request));
    while (true) {
      auto connection = pool_->take();
      if (!connection) {
        GS_CO_TRY(auto stream, co_await connectTo(endpoint_, deadline));
        connection = std::make_unique<ClientConnection>(std::move(stream));
      }
      auto& c = *connection;
      c.watchdog.arm(deadline);
      std::optional<InterruptibleSource> source;
      if (request.stream) source.emplace(*request.stream, *c.stream);
      const auto sent =
          co_await writeMessage(*c.stream, c.watchdog, Millis::max(), head, request.body, source ? &*source : nullptr);
      if (source && source->failed()) co_return fail(Error(sent.error()).context("making the request's body"));
      // A peer that refuses answers and closes while the body is under way: its answer says more than the broken pipe.
      bool answered = false;
      auto answer = co_await readAnswer(
          c, request.method == "HEAD" ? HttpParser::Body::kNever : HttpParser::Body::kAsFramed, &answered);
      if (answer) {
        const bool reusable = sent.has_value() && answer->keepAlive;
        co_return Exchange{std::move(connection), std::move(*answer), reusable};
      }
      if (c.watchdog.expired()) co_return fail(tooLate(endpoint_, "the request to"));
      const bool harmless = isIdempotent(request.method) && (!source || !source->begun());
      if (c.reused && !answered && harmless) continue;
      // A refused client certificate shows on the reading side; the writing side only sees a broken pipe.
      const bool readerKnows = sent.has_value() || answer.error().code == ErrorCode::kUnauthenticated;
      co_return fail((readerKnows ? std::move(answer.error()) : Error(sent.error()))
                         .context("talking to " + endpoint_.describe()));
    }
  }

  static Task<Result<HttpHead>> readAnswer(ClientConnection& c, HttpParser::Body body, bool* answered) {
    while (true) {
      GS_CO_TRY(const bool came, co_await c.reader.waitForMessage());
      if (!came) co_return fail(ErrorCode::kUnavailable, "the peer closed the connection without an answer");
      *answered = true;
      auto head = co_await c.reader.readHead(body);
      if (!head) {
        // From a server, what cannot be understood is its fault, not the caller's.
        if (head.error().code == ErrorCode::kInvalidArgument) head.error().code = ErrorCode::kUnavailable;
        co_return head;
      }
      if (head->status >= 200 || head->status == 101) co_return head;
    }
  }

  HttpEndpoint endpoint_;
  std::shared_ptr<IdlePool> pool_;
};

}  // namespace

std::unique_ptr<HttpClient> makeHttpClient(Executor, HttpEndpoint endpoint, std::size_t maxIdle) {
  return std::make_unique<PooledHttpClient>(std::move(endpoint), maxIdle);
}

}  // namespace gs

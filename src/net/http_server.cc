#include "net/http_server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <sys/socket.h>

#include "base/log.h"
#include "net/http_connection.h"
#include "net/tls_stream.h"

namespace gs {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// Refusals linger so that the client gets to read them; past this many at once connections are just dropped.
constexpr std::size_t kMaxRefusals = 64;
constexpr std::string_view kBusy =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

using Acceptor = asio::ip::tcp::acceptor;

struct ServerState {
  ServerState(const Executor& executor, HttpServerSettings s, HttpHandler h)
      : settings(std::move(s)), handler(std::move(h)), acceptor(executor), tasks(executor) {}

  HttpServerSettings settings;
  HttpHandler handler;
  Acceptor acceptor;
  TaskGroup tasks;
  std::size_t connections = 0;
  std::size_t refusals = 0;
};

struct Counted {
  explicit Counted(std::size_t& c) : count(c) { ++count; }
  Counted(const Counted&) = delete;
  ~Counted() { --count; }
  std::size_t& count;
};

Task<void> refuse(std::shared_ptr<ServerState> state, Socket socket) {
  const Counted counted(state->refusals);
  const auto stream = makeSocketStream(std::move(socket), {});
  Watchdog watchdog(stream->executor(), *stream);
  watchdog.arm(Deadline::after(Millis(2000)));
  if (co_await stream->write(kBusy)) co_await lingerAndClose(*stream, watchdog);
}

Task<void> serve(std::shared_ptr<ServerState> state, Socket socket) {
  const Counted counted(state->connections);
  std::unique_ptr<Connection> stream;
  if (state->settings.tls) {
    auto secured =
        co_await acceptTls(std::move(socket), state->settings.tls, Deadline::after(state->settings.times.head));
    if (!secured) {
      logDebug("tls_handshake_refused", {{"error", secured.error().describe()}});
      co_return;
    }
    stream = std::move(*secured);
  } else {
    auto address = describePeer(socket);
    stream = makeSocketStream(std::move(socket), PeerInfo{std::move(address), {}});
  }
  auto pending = co_await serveHttp(std::move(stream), &state->handler, state->settings.times);
  if (pending) co_await runWebSocket(std::move(*pending));
}

Task<void> acceptLoop(std::shared_ptr<ServerState> state) {
  auto& acceptor = state->acceptor;
  while (acceptor.is_open()) {
    auto [error, accepted] = co_await acceptor.async_accept(kAwait);
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) break;
    if (error) {
      // Out of descriptors or memory: waiting gives the connections that live a chance to end.
      logWarn("http_accept_failed", {{"error", error.message()}});
      co_await sleepFor(Millis(100));
      continue;
    }
    Socket socket(std::move(accepted));
    tuneTcp(socket);
    if (state->connections < state->settings.maxConnections) {
      state->tasks.spawn("http.connection", serve(state, std::move(socket)));
    } else if (!state->settings.tls && state->refusals < kMaxRefusals) {
      state->tasks.spawn("http.refusal", refuse(state, std::move(socket)));
    }
  }
}

class AsioHttpServer final : public HttpServer {
 public:
  explicit AsioHttpServer(std::shared_ptr<ServerState> state) : state_(std::move(state)) {
    port_ = state_->acceptor.local_endpoint().port();
    state_->tasks.spawn("http.accept", acceptLoop(state_));
  }
  [[nodiscard]] std::uint16_t port() const override { return port_; }
  void replaceTls(std::shared_ptr<TlsServerContext> tls) override { state_->settings.tls = std::move(tls); }
  Task<void> stop() override {
    const auto state = state_;
    boost::system::error_code ignored;
    state->acceptor.close(ignored);
    co_await state->tasks.cancelAndJoin();
  }

 private:
  std::shared_ptr<ServerState> state_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> startHttpServer(Executor executor, HttpServerSettings settings,
                                                    HttpHandler handler) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(settings.address, error);
  if (error) return fail(ErrorCode::kInvalidArgument, "not an IP address to listen on: " + settings.address);
  const asio::ip::tcp::endpoint endpoint(address, settings.port);
  auto state = std::make_shared<ServerState>(executor, std::move(settings), std::move(handler));
  auto& acceptor = state->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) {
    return fail(makeError(ErrorCode::kUnavailable, fmt::format("cannot listen on {}:{}: {}", state->settings.address,
                                                               state->settings.port, error.message()))
                    .withFix("stop what uses that port, or choose another"));
  }
  return std::make_unique<AsioHttpServer>(std::move(state));
}

}  // namespace gs

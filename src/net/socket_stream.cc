#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "async/event.h"
#include "net/connection.h"

namespace gs {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr Millis kPerAddress{5000};

class SocketStream final : public Connection {
 public:
  SocketStream(Socket socket, PeerInfo peer) : socket_(std::move(socket)), peer_(std::move(peer)) {}

  void startRead(asio::mutable_buffer into, IoHandler handler) override {
    socket_.async_read_some(into, std::move(handler));
  }
  void startWrite(std::span<const asio::const_buffer> from, IoHandler handler) override {
    if (from.size() == 1) return socket_.async_write_some(from.front(), std::move(handler));
    std::array<asio::const_buffer, 4> buffers;
    std::ranges::copy(from.first(std::min(from.size(), buffers.size())), buffers.begin());
    socket_.async_write_some(buffers, std::move(handler));
  }
  Executor executor() override { return socket_.get_executor(); }
  [[nodiscard]] const PeerInfo& peer() const override { return peer_; }
  void shutdownWrite() override {
    IoError ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }
  void close() override {
    IoError ignored;
    socket_.close(ignored);
  }
  [[nodiscard]] int nativeHandle() const override {
    return socket_.is_open() ? const_cast<Socket&>(socket_).native_handle() : -1;
  }

 private:
  Socket socket_;
  PeerInfo peer_;
};

class UnixListenerSocket final : public UnixListener {
 public:
  explicit UnixListenerSocket(asio::local::stream_protocol::acceptor acceptor) : acceptor_(std::move(acceptor)) {}

  Task<Result<std::unique_ptr<ByteStream>>> accept() override {
    while (true) {
      auto [error, socket] = co_await acceptor_.async_accept(kAwait);
      if (!error) co_return makeSocketStream(Socket(std::move(socket)), PeerInfo{"unix", {}});
      if (error == asio::error::operation_aborted) co_await throwIfCancelled();
      if (error == asio::error::connection_aborted) continue;
      co_return fail(ErrorCode::kUnavailable, "cannot accept: " + error.message());
    }
  }
  void close() override {
    IoError ignored;
    acceptor_.close(ignored);
  }

 private:
  asio::local::stream_protocol::acceptor acceptor_;
};

Status checkUnixPath(const std::string& path) {
  if (!path.empty() && path.size() < sizeof(sockaddr_un::sun_path)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("a unix socket path must have 1 to {} bytes: {}", sizeof(sockaddr_un::sun_path) - 1, path));
}

// Connects one socket; a timer closes it when its time is over, which ends the connect.
template <class Endpoint>
Task<Result<Socket>> connectOne(Endpoint endpoint, std::string what, Deadline deadline) {
  const auto executor = co_await asio::this_coro::executor;
  struct Attempt {
    explicit Attempt(const Executor& e) : socket(e), timer(e) {}
    Socket socket;
    asio::steady_timer timer;
    bool late = false;
  };
  const auto attempt = std::make_shared<Attempt>(executor);
  attempt->timer.expires_at(deadline.time());
  attempt->timer.async_wait([attempt](const IoError& error) {
    if (error) return;
    attempt->late = true;
    IoError ignored;
    attempt->socket.close(ignored);
  });
  const auto [error] = co_await attempt->socket.async_connect(endpoint, kAwait);
  attempt->timer.cancel();
  if (error == asio::error::operation_aborted && !attempt->late) co_await throwIfCancelled();
  if (attempt->late) co_return fail(ErrorCode::kDeadlineExceeded, "connecting to " + what + " took too long");
  if (error) co_return fail(ErrorCode::kUnavailable, "cannot connect to " + what + ": " + error.message());
  co_return std::move(attempt->socket);
}

struct Resolution {
  explicit Resolution(const Executor& e) : resolver(e), done(e) {}
  asio::ip::tcp::resolver resolver;
  Event done;
  std::optional<std::pair<IoError, asio::ip::tcp::resolver::results_type>> answer;
};

// getaddrinfo cannot be interrupted; when it is late its answer is dropped, not waited for.
Task<Result<std::vector<asio::ip::tcp::endpoint>>> resolve(std::string host, std::uint16_t port, Deadline deadline) {
  IoError notNumeric;
  const auto address = asio::ip::make_address(host, notNumeric);
  if (!notNumeric) co_return std::vector{asio::ip::tcp::endpoint(address, port)};
  const auto state = std::make_shared<Resolution>(co_await asio::this_coro::executor);
  state->resolver.async_resolve(host, std::to_string(port), asio::ip::tcp::resolver::numeric_service,
                                [state](const IoError& error, asio::ip::tcp::resolver::results_type results) {
                                  state->answer.emplace(error, std::move(results));
                                  state->done.notifyAll();
                                });
  while (!state->answer && !deadline.expired()) co_await state->done.waitUntil(deadline);
  if (!state->answer) co_return fail(ErrorCode::kDeadlineExceeded, "looking up " + host + " took too long");
  if (state->answer->first) {
    co_return fail(ErrorCode::kUnavailable, "cannot look up " + host + ": " + state->answer->first.message());
  }
  std::vector<asio::ip::tcp::endpoint> endpoints;
  for (const auto& entry : state->answer->second) endpoints.push_back(entry.endpoint());
  co_return endpoints;
}

}  // namespace

std::unique_ptr<Connection> makeSocketStream(Socket socket, PeerInfo peer) {
  return std::make_unique<SocketStream>(std::move(socket), std::move(peer));
}

void tuneTcp(Socket& socket) {
  const int fd = socket.native_handle();
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

std::string describePeer(const Socket& socket) {
  IoError error;
  const auto remote = socket.remote_endpoint(error);
  if (error) return "unknown";
  if (remote.protocol().family() == AF_UNIX) return "unix";
  asio::ip::tcp::endpoint tcp;
  if (remote.size() > tcp.capacity()) return "unknown";
  std::memcpy(tcp.data(), remote.data(), remote.size());
  const auto address = tcp.address().to_string();
  return tcp.address().is_v6() ? fmt::format("[{}]:{}", address, tcp.port())
                               : fmt::format("{}:{}", address, tcp.port());
}

Task<Result<Socket>> connectTcp(std::string host, std::uint16_t port, Deadline deadline) {
  GS_CO_TRY(const auto endpoints, co_await resolve(host, port, deadline));
  Error last = makeError(ErrorCode::kUnavailable, "no address for " + host);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    // The last address may use all the time that is left; one before it must leave some.
    const auto bound = i + 1 == endpoints.size() ? deadline : deadline.earlier(Deadline::after(kPerAddress));
    auto socket = co_await connectOne(Socket::endpoint_type(endpoints[i]), fmt::format("{}:{}", host, port), bound);
    if (socket) {
      tuneTcp(*socket);
      co_return std::move(*socket);
    }
    last = std::move(socket.error());
  }
  co_return fail(std::move(last));
}

Task<Result<Socket>> connectUnixSocket(std::string path, Deadline deadline) {
  GS_CO_CHECK(checkUnixPath(path));
  co_return co_await connectOne(Socket::endpoint_type(asio::local::stream_protocol::endpoint(path)), path, deadline);
}

Task<Result<std::unique_ptr<ByteStream>>> connectUnix(std::string path, Deadline deadline) {
  GS_CO_TRY(auto socket, co_await connectUnixSocket(path, deadline));
  co_return makeSocketStream(std::move(socket), PeerInfo{"unix", {}});
}

Result<std::unique_ptr<UnixListener>> listenUnix(Executor executor, const std::string& path) {
  GS_CHECK(checkUnixPath(path));
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return fail(ErrorCode::kAlreadyExists, path + " exists and is not a socket");
    if (::unlink(path.c_str()) != 0) return fail(errnoError(errno, "unlink " + path));
  }
  asio::local::stream_protocol::acceptor acceptor(executor);
  IoError error;
  acceptor.open(asio::local::stream_protocol(), error);
  // The mode of the descriptor is what bind() gives the file, so there is no moment at which others could connect.
  if (!error && ::fchmod(acceptor.native_handle(), 0600) != 0) return fail(errnoError(errno, "fchmod"));
  if (!error) acceptor.bind(asio::local::stream_protocol::endpoint(path), error);
  if (error) return fail(errnoError(error.value(), "bind " + path));
  if (::chmod(path.c_str(), 0600) != 0) return fail(errnoError(errno, "chmod " + path));
  acceptor.listen(128, error);
  if (error) return fail(errnoError(error.value(), "listen " + path));
  return std::make_unique<UnixListenerSocket>(std::move(acceptor));
}

}  // namespace gs

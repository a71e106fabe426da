#include "net/beast/web_socket_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "async/async_mutex.h"
#include "base/encoding.h"
#include "net/beast/beast_stream.h"
#include "net/watchdog.h"

namespace gs {

void BeastStream::startRead(asio::mutable_buffer into, IoHandler handler) {
  reading_ = true;
  readSince_ = std::chrono::steady_clock::now();
  if (buffered_.empty()) return connection_->startRead(into, std::move(handler));
  const auto size = std::min(buffered_.size(), into.size());
  std::memcpy(into.data(), buffered_.data(), size);
  buffered_.erase(0, size);
  asio::post(executor_, [handler = std::move(handler), size]() mutable { handler({}, size); });
}

void BeastStream::startWrite(std::span<const asio::const_buffer> from, IoHandler handler) {
  writeSince_ = std::chrono::steady_clock::now();
  connection_->startWrite(from, std::move(handler));
}

namespace {

struct Linger : std::enable_shared_from_this<Linger> {
  Linger(Connection& c, IoHandler d) : connection(c), timer(c.executor()), done(std::move(d)) {}
  void begin() {
    timer.expires_after(Millis(2000));
    timer.async_wait([self = shared_from_this()](const IoError& error) {
      if (!error && self->done) self->connection.close();
    });
    connection.shutdownWrite();
    step();
  }
  void step() {
    connection.startRead(asio::buffer(waste),
                         IoHandler([self = shared_from_this()](const IoError& error, std::size_t bytes) {
                           if (!error && bytes > 0) return self->step();
                           self->timer.cancel();
                           self->connection.close();
                           auto last = std::move(self->done);
                           last({}, 0);
                         }));
  }

  Connection& connection;
  asio::steady_timer timer;
  IoHandler done;
  std::array<char, 2048> waste{};
};

}  // namespace

void BeastStream::linger(IoHandler done) {
  std::make_shared<Linger>(*connection_, std::move(done))->begin();
}

namespace {

namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;

// No compression: what is carried is mostly small or compressed, and its state would cost 300 KiB a connection.
using BeastWs = websocket::stream<BeastStream, false>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr Millis kCloseTime{2'000};
constexpr Millis kAcceptTime{10'000};
constexpr std::size_t kMaxReasonBytes = 120;

// Beast reports through completion handlers that hold this object, so it outlives every operation. Beast's own read
// is not cancellable without breaking the stream; the reader here therefore waits for a message, not for the read.
class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(std::unique_ptr<Connection> connection, std::string buffered, const WsSettings& settings)
      : ws(std::move(connection), std::move(buffered)),
        changed(ws.get_executor()),
        writing(ws.get_executor()),
        keepAlive_(settings.keepAlive),
        heartbeat_(ws.get_executor()),
        closeTimer_(ws.get_executor()) {
    ws.binary(true);
    ws.auto_fragment(false);
    ws.write_buffer_bytes(settings.writeBufferBytes);
    ws.read_message_max(settings.maxMessageBytes);
  }

  // `isServer` sides send pings; client sides send unsolicited pongs (RFC 6455 §5.5.3). Beast's read waits for its pong
  // to be written: were both sides to answer pings, two blocked writers could wait for each other for ever.
  void begin(websocket::frame_type heartbeatKind) {
    heartbeatKind_ = heartbeatKind;
    pump();
    scheduleHeartbeat();
  }

  // Reads one message ahead.
  void pump() {
    if (reading_ || ready || over || closing_) return;
    reading_ = true;
    incoming_.clear();
    buffer_.emplace(incoming_);
    ws.async_read(*buffer_, [self = shared_from_this()](const IoError& error, std::size_t) { self->onMessage(error); });
  }

  void beginClose(std::uint16_t code, std::string reason) {
    if (over || closing_) return;
    closing_ = true;
    local_ = WsClose{code, std::move(reason)};
    closeTimer_.expires_after(kCloseTime);
    closeTimer_.async_wait([weak = weak_from_this()](const IoError& error) {
      if (const auto self = weak.lock(); self && !error) self->abort();
    });
    websocket::close_reason closeReason(static_cast<websocket::close_code>(code),
                                        local_.reason.substr(0, kMaxReasonBytes));
    ws.async_close(closeReason, [self = shared_from_this()](const IoError& error) { self->finish(error); });
  }

  void abort() {
    if (over) return;
    ws.next_layer().connection().close();
    finish(asio::error::operation_aborted);
  }

  void finish(const IoError& error) {
    if (over) return;
    over = true;
    ended_ = judge(error);
    heartbeat_.cancel();
    closeTimer_.cancel();
    changed.notifyAll();
  }

  [[nodiscard]] Error whyOver() const {
    return over ? ended_ : makeError(ErrorCode::kUnavailable, "the WebSocket is being closed");
  }
  [[nodiscard]] bool usable() const { return !over && !closing_; }

  BeastWs ws;
  Event changed;
  AsyncMutex writing;
  std::optional<std::string> ready;
  bool over = false;
  WsClose closed;

 private:
  void onMessage(const IoError& error) {
    reading_ = false;
    if (error) return finish(error);
    if (!ws.got_binary()) return beginClose(1003, "only binary messages are understood");
    ready = std::move(incoming_);
    changed.notifyAll();
  }

  Error judge(const IoError& error) {
    const auto unavailable = [](std::string text) { return makeError(ErrorCode::kUnavailable, std::move(text)); };
    if (error == websocket::error::closed) {
      const auto& reason = ws.reason();
      // A close frame without a code is 1005 for whoever received it (RFC 6455 §7.1.5).
      closed.code = reason.code == websocket::close_code::none ? 1005 : static_cast<std::uint16_t>(reason.code);
      closed.reason.assign(reason.reason.data(), reason.reason.size());
      return unavailable(
          fmt::format("the peer closed the WebSocket ({} {})", closed.code, escapeForLog(closed.reason)));
    }
    if (error == websocket::error::message_too_big) {
      closed = {1009, "the message is over the limit"};
      return makeError(ErrorCode::kResourceExhausted, "the peer sent a message over the limit")
          .withReason("message_too_big");
    }
    if (error == websocket::condition::protocol_violation) {
      closed = {1002, error.message()};
      return unavailable("the peer broke the WebSocket protocol: " + error.message());
    }
    if (silent_) {
      closed = {1006, "nothing was heard from the peer"};
      return unavailable(closed.reason);
    }
    if (closing_) {
      closed = local_;
      return unavailable(fmt::format("the WebSocket was closed here ({} {})", closed.code, closed.reason));
    }
    closed = {1006, {}};
    return ws.next_layer().connection().explain(error);
  }

  // When the next look at the connection is due.
  void scheduleHeartbeat() {
    const auto now = std::chrono::steady_clock::now();
    const auto& stream = ws.next_layer();
    auto next = std::min(stream.readSince(), stream.writeSince()) + keepAlive_.pingAfter;
    if (next <= now) next = now + keepAlive_.pingAfter;
    const auto drop = stream.readSince() + keepAlive_.dropAfter;
    if (stream.reading() && drop > now) next = std::min(next, drop);
    heartbeat_.expires_at(next);
    heartbeat_.async_wait([weak = weak_from_this()](const IoError& error) {
      if (const auto self = weak.lock(); self && !error) self->onHeartbeat();
    });
  }

  void onHeartbeat() {
    if (over) return;
    const auto now = std::chrono::steady_clock::now();
    const auto& stream = ws.next_layer();
    if (stream.reading() && now - stream.readSince() >= keepAlive_.dropAfter) {
      silent_ = true;
      return abort();
    }
    const bool quiet = now - std::min(stream.readSince(), stream.writeSince()) >= keepAlive_.pingAfter;
    if (quiet && !beating_ && !closing_) {
      beating_ = true;
      const auto sent = [self = shared_from_this()](const IoError&) { self->beating_ = false; };
      if (heartbeatKind_ == websocket::frame_type::ping) {
        ws.async_ping({}, sent);
      } else {
        ws.async_pong({}, sent);
      }
    }
    scheduleHeartbeat();
  }

  WsKeepAlive keepAlive_;
  asio::steady_timer heartbeat_;
  asio::steady_timer closeTimer_;
  websocket::frame_type heartbeatKind_ = websocket::frame_type::ping;
  std::string incoming_;
  std::optional<asio::dynamic_string_buffer<char, std::char_traits<char>, std::allocator<char>>> buffer_;
  WsClose local_;
  Error ended_;
  bool reading_ = false;
  bool closing_ = false;
  bool beating_ = false;
  bool silent_ = false;
};

class BeastWebSocket final : public WebSocket {
 public:
  explicit BeastWebSocket(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~BeastWebSocket() override { core_->abort(); }

  Task<Result<std::string>> read() override { return readFrom(core_); }
  Task<Status> write(std::string_view message) override { return writeTo(core_, message); }
  Task<void> close(std::uint16_t code, std::string reason) override {
    return closeWith(core_, code, std::move(reason));
  }
  void abort() override { core_->abort(); }
  [[nodiscard]] const WsClose& closed() const override { return core_->closed; }
  [[nodiscard]] bool isOpen() const override { return core_->usable(); }

 private:
  // Static, so that a call in progress survives the last reference to the socket.
  static Task<Result<std::string>> readFrom(std::shared_ptr<Core> core) {
    while (!core->ready) {
      if (core->over) co_return fail(core->whyOver());
      core->pump();
      co_await core->changed.waitUntil(Deadline::never());
    }
    auto message = std::move(*core->ready);
    core->ready.reset();
    core->pump();
    co_return message;
  }
  static Task<Status> writeTo(std::shared_ptr<Core> core, std::string_view message) {
    const auto guard = co_await core->writing.lock();
    if (!core->usable()) co_return fail(core->whyOver());
    const auto [error, bytes] = co_await core->ws.async_write(asio::buffer(message), kAwait);
    if (!error) co_return Status();
    if (!core->over && error == asio::error::operation_aborted) {
      core->abort();  // part of the message may be out
      co_await throwIfCancelled();
    }
    if (core->over) co_return fail(core->whyOver());
    co_return fail(core->ws.next_layer().connection().explain(error));
  }
  static Task<void> closeWith(std::shared_ptr<Core> core, std::uint16_t code, std::string reason) {
    core->beginClose(code, std::move(reason));
    while (!core->over) co_await core->changed.waitUntil(Deadline::never());
  }

  std::shared_ptr<Core> core_;
};

ErrorCode codeOfStatus(int status) {
  switch (status) {
    case 400:
      return ErrorCode::kInvalidArgument;
    case 401:
      return ErrorCode::kUnauthenticated;
    case 403:
      return ErrorCode::kPermissionDenied;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
    case 426:
      return ErrorCode::kFailedPrecondition;
    default:
      return ErrorCode::kUnavailable;
  }
}

boost::beast::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

Task<Result<std::shared_ptr<WebSocket>>> acceptWebSocket(std::unique_ptr<Connection> connection, HttpRequest request,
                                                         std::string buffered, WsSettings settings) {
  const auto core = std::make_shared<Core>(std::move(connection), std::move(buffered), settings);
  http::request<http::empty_body> upgrade(http::verb::get, view(request.target), 11);
  for (const auto& [name, value] : request.headers.all()) {
    if (http::string_to_field(view(name)) != http::field::expect) upgrade.insert(view(name), view(value));
  }
  core->ws.set_option(
      websocket::stream_base::decorator([subprotocol = settings.subprotocol,
                                         headers = std::move(settings.responseHeaders)](websocket::response_type& r) {
        r.set(http::field::server, "gstacks");
        for (const auto& [name, value] : headers.all()) r.set(view(name), view(value));
        if (!subprotocol.empty()) r.set(http::field::sec_websocket_protocol, view(subprotocol));
      }));
  {
    Watchdog watchdog(core->ws.get_executor(), core->ws.next_layer().connection());
    watchdog.arm(Deadline::after(kAcceptTime));
    const auto [error] = co_await core->ws.async_accept(upgrade, kAwait);
    if (error == asio::error::operation_aborted) co_await throwIfCancelled();
    if (error) co_return fail(ErrorCode::kUnavailable, "the WebSocket handshake failed: " + error.message());
  }
  core->begin(websocket::frame_type::ping);
  co_return std::make_shared<BeastWebSocket>(core);
}

Task<Result<std::shared_ptr<WebSocket>>> connectWebSocket(std::unique_ptr<Connection> connection, std::string host,
                                                          std::string target, HttpHeaders headers, WsSettings settings,
                                                          Deadline deadline) {
  const auto core = std::make_shared<Core>(std::move(connection), std::string(), settings);
  core->ws.set_option(
      websocket::stream_base::decorator([&headers, subprotocol = settings.subprotocol](websocket::request_type& r) {
        r.set(http::field::user_agent, "gstacks");
        if (!subprotocol.empty()) r.set(http::field::sec_websocket_protocol, view(subprotocol));
        for (const auto& [name, value] : headers.all()) r.set(view(name), view(value));
      }));
  websocket::response_type response;
  {
    Watchdog watchdog(core->ws.get_executor(), core->ws.next_layer().connection());
    watchdog.arm(deadline);
    const auto [error] = co_await core->ws.async_handshake(response, view(host), view(target), kAwait);
    core->ws.set_option(websocket::stream_base::decorator([](websocket::request_type&) {}));
    if (watchdog.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the WebSocket handshake took too long");
    if (error == asio::error::operation_aborted) co_await throwIfCancelled();
    if (error == websocket::error::upgrade_declined) {
      const auto status = static_cast<int>(response.result_int());
      co_return fail(makeError(codeOfStatus(status),
                               fmt::format("the server answered {}: {}", status, escapeForLog(response.body(), 1024))));
    }
    if (error.category() == make_error_code(websocket::error::closed).category()) {
      co_return fail(ErrorCode::kUnavailable, "the WebSocket handshake failed: " + error.message());
    }
    if (error) co_return fail(core->ws.next_layer().connection().explain(error));
  }
  const auto chosen = response[http::field::sec_websocket_protocol];
  if (std::string_view(chosen.data(), chosen.size()) != settings.subprotocol) {
    co_return fail(ErrorCode::kFailedPrecondition, "the server did not choose the subprotocol " + settings.subprotocol);
  }
  core->begin(websocket::frame_type::pong);
  co_return std::make_shared<BeastWebSocket>(core);
}

}  // namespace gs

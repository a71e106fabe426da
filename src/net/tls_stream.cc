#include "net/tls_stream.h"

#include <openssl/err.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "net/tls_context.h"
#include "net/watchdog.h"

namespace gs {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kRecordBytes = 16 * 1024;
constexpr std::size_t kSmallPiece = 4 * 1024;
constexpr std::size_t kReadBufferBytes = 32 * 1024;  // two records a system call while data flows; released when idle

int fdOf(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

// OpenSSL's own socket BIO calls write(2), and a broken connection would then raise SIGPIPE.
const BIO_METHOD* socketMethod() {
  static const BIO_METHOD* const kMethod = [] {
    auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gs socket");
    BIO_meth_set_write_ex(m, [](BIO* bio, const char* data, std::size_t size, std::size_t* done) {
      BIO_clear_retry_flags(bio);
      const auto sent = ::send(fdOf(bio), data, size, MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
      *done = sent > 0 ? static_cast<std::size_t>(sent) : 0;
      return sent > 0 ? 1 : 0;
    });
    BIO_meth_set_read_ex(m, [](BIO* bio, char* data, std::size_t size, std::size_t* done) {
      BIO_clear_retry_flags(bio);
      const auto got = ::recv(fdOf(bio), data, size, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
      if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      *done = got > 0 ? static_cast<std::size_t>(got) : 0;
      return got > 0 ? 1 : 0;
    });
    BIO_meth_set_ctrl(m, [](BIO* bio, int command, long, void*) -> long {
      if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    BIO_meth_set_create(m, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return m;
  }();
  return kMethod;
}

bool isCertificateAlert(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

// What OpenSSL's queue says about a failed call.
Error tlsError() {
  const auto code = ERR_peek_error();
  const int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
  const bool truncated = ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  const auto reason = openSslReason();
  if (truncated) return makeError(ErrorCode::kUnavailable, "the peer cut the connection without ending TLS");
  if (isCertificateAlert(alert)) {
    return makeError(ErrorCode::kUnauthenticated, "the peer refused the certificate: " + reason)
        .withReason("tls_certificate_refused");
  }
  return makeError(ErrorCode::kUnauthenticated, "TLS failed: " + reason).withReason("tls_handshake_failed");
}

// Held by the stream and by each wait on the descriptor.
class TlsState : public std::enable_shared_from_this<TlsState> {
 public:
  TlsState(Socket s, SSL_CTX* context) : socket(std::move(s)), ssl_(SSL_new(context)) {
    BIO* bio = BIO_new(socketMethod());
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket.native_handle())));
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_default_read_buffer_len(ssl_.get(), kReadBufferBytes);
    IoError ignored;
    socket.native_non_blocking(true, ignored);
  }

  // Which way the descriptor must become ready for the failed call to be repeated.
  enum class Need : std::uint8_t { kRead, kWrite, kEnd, kNever };

  Need need(int result) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ) return Need::kRead;
    if (error == SSL_ERROR_WANT_WRITE) return Need::kWrite;
    if (error == SSL_ERROR_ZERO_RETURN) return Need::kEnd;
    if (!failure) {
      failure = error == SSL_ERROR_SYSCALL ? makeError(ErrorCode::kUnavailable, "the connection broke") : tlsError();
    }
    ERR_clear_error();
    return Need::kNever;
  }

  Task<Status> handshake() {
    while (true) {
      ERR_clear_error();
      const int result = SSL_do_handshake(ssl_.get());
      if (result == 1) break;
      const auto next = need(result);
      if (next == Need::kNever) co_return fail(*failure);
      if (next == Need::kEnd) co_return fail(ErrorCode::kUnavailable, "the peer closed the connection");
      const auto [error] =
          co_await socket.async_wait(next == Need::kRead ? Socket::wait_read : Socket::wait_write, kAwait);
      if (error == asio::error::operation_aborted) co_await throwIfCancelled();
      if (error) co_return fail(ErrorCode::kUnavailable, "the connection was closed during the TLS handshake");
    }
    established = true;
    co_return Status();
  }

  void startRead(asio::mutable_buffer into, IoHandler handler) {
    readInto_ = into;
    reader_ = std::move(handler);
    continueRead(Where::kInitiation);
  }
  void startWrite(std::span<const asio::const_buffer> from, IoHandler handler) {
    std::ranges::copy(from, pieces_.begin());
    pieceCount_ = from.size();
    written_ = 0;
    writer_ = std::move(handler);
    continueWrite(Where::kInitiation);
  }

  void shutdownWrite() {
    if (established && !failure && !writer_) {
      ERR_clear_error();
      (void)SSL_shutdown(ssl_.get());
      ERR_clear_error();
    }
    IoError ignored;
    socket.shutdown(Socket::shutdown_send, ignored);
  }
  void close() {
    IoError ignored;
    socket.close(ignored);
  }
  [[nodiscard]] SSL* ssl() { return ssl_.get(); }

  Socket socket;
  std::optional<Error> failure;
  bool established = false;

 private:
  enum class Where : std::uint8_t { kInitiation, kCompletion };

  // One wait on the descriptor for the pending read or write; cancelled through that operation's own slot.
  struct Wait {
    std::shared_ptr<TlsState> state;
    void (TlsState::*resume)(const IoError&);
    asio::cancellation_slot slot;

    using cancellation_slot_type = asio::cancellation_slot;
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
    void operator()(const IoError& error) { ((*state).*resume)(error); }
  };

  void wait(Need next, void (TlsState::*resume)(const IoError&), asio::cancellation_slot slot) {
    socket.async_wait(next == Need::kRead ? Socket::wait_read : Socket::wait_write,
                      Wait{shared_from_this(), resume, slot});
  }

  // Handlers are never called from the call that began the operation.
  void complete(IoHandler& which, Where where, const IoError& error, std::size_t bytes) {
    auto handler = std::move(which);
    if (where == Where::kCompletion) return handler(error, bytes);
    asio::post(socket.get_executor(),
               [handler = std::move(handler), error, bytes]() mutable { handler(error, bytes); });
  }

  void resumeRead(const IoError& error) {
    if (error || !socket.is_open()) return complete(reader_, Where::kCompletion, asio::error::operation_aborted, 0);
    continueRead(Where::kCompletion);
  }
  void continueRead(Where where) {
    if (!socket.is_open()) return complete(reader_, where, asio::error::operation_aborted, 0);
    auto* out = static_cast<char*>(readInto_.data());
    std::size_t total = 0;
    auto next = failure ? Need::kNever : Need::kRead;
    while (!failure && total < readInto_.size()) {
      ERR_clear_error();
      std::size_t got = 0;
      const int result = SSL_read_ex(ssl_.get(), out + total, readInto_.size() - total, &got);
      total += got;
      if (result == 1) continue;
      next = need(result);
      break;
    }
    if (total > 0 || readInto_.size() == 0) return complete(reader_, where, {}, total);
    if (next == Need::kEnd) return complete(reader_, where, asio::error::eof, 0);
    if (next == Need::kNever) return complete(reader_, where, asio::error::connection_aborted, 0);
    wait(next, &TlsState::resumeRead, reader_.get_cancellation_slot());
  }

  void resumeWrite(const IoError& error) {
    if (error || !socket.is_open()) {
      // A record may be half out, and whatever came next would continue it.
      if (!failure) failure = makeError(ErrorCode::kUnavailable, "a write was interrupted");
      return complete(writer_, Where::kCompletion, asio::error::operation_aborted, 0);
    }
    continueWrite(Where::kCompletion);
  }
  // Ends only when everything is out: a record that OpenSSL has begun must be offered to it again unchanged.
  void continueWrite(Where where) {
    if (!socket.is_open()) return complete(writer_, where, asio::error::operation_aborted, 0);
    while (true) {
      const auto data = nextSlice();
      if (data.empty()) break;
      if (failure) return complete(writer_, where, asio::error::connection_aborted, 0);
      ERR_clear_error();
      std::size_t done = 0;
      const int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &done);
      if (result == 1) {
        consume(done);
        continue;
      }
      const auto next = need(result);
      if (next == Need::kRead || next == Need::kWrite) {
        return wait(next, &TlsState::resumeWrite, writer_.get_cancellation_slot());
      }
      return complete(writer_, where, asio::error::broken_pipe, 0);
    }
    std::string().swap(joined_);
    complete(writer_, where, {}, written_);
  }

  // The next bytes to encrypt: a large piece as it is, small ones joined so that a frame's header is no record alone.
  std::string_view nextSlice() {
    if (joinedAt_ < joined_.size()) return std::string_view(joined_).substr(joinedAt_);
    std::size_t first = 0;
    while (first < pieceCount_ && pieces_[first].size() == 0) ++first;
    if (first == pieceCount_) return {};
    const auto& piece = pieces_[first];
    if (piece.size() >= kSmallPiece || first + 1 == pieceCount_)
      return {static_cast<const char*>(piece.data()), piece.size()};
    joined_.clear();
    joinedAt_ = 0;
    for (std::size_t i = first; i < pieceCount_ && joined_.size() < kRecordBytes; ++i) {
      const auto take = std::min(pieces_[i].size(), kRecordBytes - joined_.size());
      joined_.append(static_cast<const char*>(pieces_[i].data()), take);
    }
    return joined_;
  }
  void consume(std::size_t bytes) {
    written_ += bytes;
    if (joinedAt_ < joined_.size()) {
      joinedAt_ += bytes;
      if (joinedAt_ == joined_.size()) {
        joined_.clear();
        joinedAt_ = 0;
      }
    }
    for (std::size_t i = 0; i < pieceCount_ && bytes > 0; ++i) {
      const auto step = std::min(bytes, pieces_[i].size());
      pieces_[i] += step;
      bytes -= step;
    }
  }

  SslPtr ssl_;
  asio::mutable_buffer readInto_;
  IoHandler reader_;
  IoHandler writer_;
  std::array<asio::const_buffer, 4> pieces_;
  std::size_t pieceCount_ = 0;
  std::size_t written_ = 0;
  std::string joined_;
  std::size_t joinedAt_ = 0;
};

class TlsStream final : public Connection {
 public:
  TlsStream(Socket socket, SSL_CTX* context) : state_(std::make_shared<TlsState>(std::move(socket), context)) {
    peer_.address = describePeer(state_->socket);
  }
  ~TlsStream() override { state_->close(); }

  void startRead(asio::mutable_buffer into, IoHandler handler) override { state_->startRead(into, std::move(handler)); }
  void startWrite(std::span<const asio::const_buffer> from, IoHandler handler) override {
    state_->startWrite(from.first(std::min<std::size_t>(from.size(), 4)), std::move(handler));
  }
  Executor executor() override { return state_->socket.get_executor(); }
  [[nodiscard]] const PeerInfo& peer() const override { return peer_; }
  [[nodiscard]] Error explain(const IoError& error) const override {
    if (state_->failure && error != asio::error::operation_aborted) return *state_->failure;
    return Connection::explain(error);
  }
  void shutdownWrite() override { state_->shutdownWrite(); }
  void close() override { state_->close(); }
  [[nodiscard]] int nativeHandle() const override {
    return state_->socket.is_open() ? state_->socket.native_handle() : -1;
  }

  [[nodiscard]] TlsState& state() { return *state_; }
  PeerInfo& mutablePeer() { return peer_; }

 private:
  std::shared_ptr<TlsState> state_;
  PeerInfo peer_;
};

bool isAddress(const std::string& host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 || ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

// A refusal is an alert; closing at once with the client's bytes unread would reset the connection and lose it.
Task<void> letAlertArrive(TlsState* state, Watchdog* watchdog) {
  watchdog->arm(Deadline::after(Millis(2000)));
  state->shutdownWrite();
  std::array<char, 2048> waste;
  while (true) {
    const auto [error, bytes] = co_await state->socket.async_read_some(asio::buffer(waste), kAwait);
    if (error || bytes == 0) co_return;
  }
}

}  // namespace

Task<Result<std::unique_ptr<Connection>>> acceptTls(Socket socket, std::shared_ptr<TlsServerContext> context,
                                                    Deadline deadline) {
  auto stream = std::make_unique<TlsStream>(std::move(socket), context->ssl.get());
  auto& state = stream->state();
  SSL_set_accept_state(state.ssl());
  Watchdog watchdog(stream->executor(), *stream);
  watchdog.arm(deadline);
  const auto done = co_await state.handshake();
  if (watchdog.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the TLS handshake took too long");
  if (!done) {
    if (done.error().code == ErrorCode::kUnauthenticated) co_await letAlertArrive(&state, &watchdog);
    co_return fail(done.error());
  }
  auto* certificate = SSL_get0_peer_certificate(state.ssl());
  if (certificate != nullptr && SSL_get_verify_mode(state.ssl()) != SSL_VERIFY_NONE &&
      SSL_get_verify_result(state.ssl()) == X509_V_OK) {
    GS_CO_TRY(stream->mutablePeer().certificate, describeCertificate(certificate));
  }
  co_return stream;
}

Task<Result<std::unique_ptr<Connection>>> connectTls(Socket socket, std::shared_ptr<TlsClientContext> context,
                                                     std::string host, Deadline deadline) {
  TlsExpectation expectation{context.get(), host, {}};
  auto stream = std::make_unique<TlsStream>(std::move(socket), context->ssl.get());
  auto& state = stream->state();
  SSL_set_connect_state(state.ssl());
  SSL_set_app_data(state.ssl(), &expectation);
  if (!isAddress(host)) SSL_set_tlsext_host_name(state.ssl(), host.c_str());
  Watchdog watchdog(stream->executor(), *stream);
  watchdog.arm(deadline);
  const auto done = co_await state.handshake();
  SSL_set_app_data(state.ssl(), nullptr);  // TLS 1.3 never judges a server's chain again
  if (watchdog.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the TLS handshake took too long");
  if (expectation.refused) co_return fail(std::move(*expectation.refused));
  if (!done) co_return fail(done.error());
  co_return stream;
}

}  // namespace gs

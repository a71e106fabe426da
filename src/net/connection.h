// What this module's own sources know of a ByteStream: completion-handler I/O under it, and who the peer is.
//
// Beast's WebSocket code is a template over its stream; it is instantiated once, over this type, instead of once per
// TCP, TLS and unix socket. Coroutines use the ByteStream side. Internal to src/net.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/recycling_allocator.hpp>

#include "net/byte_stream.h"
#include "net/tls.h"

namespace gs {

using IoError = boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;

// A move-only (error, bytes) completion handler without its type; the handler's cancellation slot stays reachable.
class IoHandler {
 public:
  IoHandler() = default;
  template <class Handler>
  explicit IoHandler(Handler handler) : model_(new Model<Handler>(std::move(handler))) {}

  // `*pending` becomes false on completion; it must live as long as the operation.
  template <class Handler>
  IoHandler(Handler handler, bool* pending) : model_(new Model<Handler>(std::move(handler))), pending_(pending) {}

  void operator()(const IoError& error, std::size_t bytes) {
    if (pending_ != nullptr) *pending_ = false;
    const auto model = std::move(model_);
    model->call(error, bytes);
  }
  explicit operator bool() const { return model_ != nullptr; }

  using cancellation_slot_type = asio::cancellation_slot;
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
    return model_ ? model_->slot() : cancellation_slot_type();
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void call(const IoError& error, std::size_t bytes) = 0;
    [[nodiscard]] virtual asio::cancellation_slot slot() const noexcept = 0;
    // One of these is made per read and write, so the memory comes from Asio's per-thread cache.
    static std::size_t units(std::size_t n) { return (n + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t); }
    static void* operator new(std::size_t n) {
      return asio::recycling_allocator<std::max_align_t>().allocate(units(n));
    }
    static void operator delete(void* p, std::size_t n) {
      asio::recycling_allocator<std::max_align_t>().deallocate(static_cast<std::max_align_t*>(p), units(n));
    }
  };
  template <class Handler>
  struct Model final : Base {
    explicit Model(Handler h) : handler(std::move(h)) {}
    void call(const IoError& error, std::size_t bytes) override { std::move(handler)(error, bytes); }
    [[nodiscard]] asio::cancellation_slot slot() const noexcept override {
      return asio::get_associated_cancellation_slot(handler);
    }
    Handler handler;
  };
  std::unique_ptr<Base> model_;
  bool* pending_ = nullptr;
};

class Connection : public ByteStream {
 public:
  // Some bytes; the handler is never called from inside. End of stream is asio::error::eof. One at a time.
  // A cancelled read loses nothing and may be repeated; after a cancelled write the stream is unusable.
  virtual void startRead(asio::mutable_buffer into, IoHandler handler) = 0;
  // Some of the bytes. The buffers themselves are copied, what they point at must stay.
  virtual void startWrite(std::span<const asio::const_buffer> from, IoHandler handler) = 0;
  [[nodiscard]] virtual Executor executor() = 0;
  [[nodiscard]] virtual const PeerInfo& peer() const = 0;
  // The Error for what a handler was given.
  [[nodiscard]] virtual Error explain(const IoError& error) const;
  // True when a read would not wait: data, end of stream or an error. Never blocks. Used to tell a dead idle
  // connection.
  [[nodiscard]] bool readable() const;

  // True when the peer has closed its side, or the connection broke, and nothing unread is left before that. Never
  // blocks. Under TLS the peer's farewell counts as unread.
  [[nodiscard]] bool peerClosed() const;

  [[nodiscard]] Task<Result<std::size_t>> readSome(std::span<char> out) final;
  [[nodiscard]] Task<Status> write(std::string_view data) final;
  // The pieces one after the other, gathered into as few system calls as the stream can. At most four pieces.
  [[nodiscard]] Task<Status> writePieces(std::array<std::string_view, 4> pieces);

  template <class Token>
  auto asyncRead(asio::mutable_buffer into, Token&& token) {
    return asio::async_initiate<Token, void(IoError, std::size_t)>(
        [](auto handler, Connection* self, asio::mutable_buffer b) {
          self->startRead(b, IoHandler(std::move(handler)));
        },
        token, this, into);
  }
  template <class Token>
  auto asyncWrite(std::span<const asio::const_buffer> from, Token&& token) {
    return asio::async_initiate<Token, void(IoError, std::size_t)>(
        [](auto handler, Connection* self, std::span<const asio::const_buffer> b) {
          self->startWrite(b, IoHandler(std::move(handler)));
        },
        token, this, from);
  }
};

// A socket without encryption.
[[nodiscard]] std::unique_ptr<Connection> makeSocketStream(Socket socket, PeerInfo peer);
// TCP_NODELAY and keep-alive probes, so that a vanished peer is noticed even when nobody sends.
void tuneTcp(Socket& socket);
// "127.0.0.1:4711" or "[::1]:4711".
[[nodiscard]] std::string describePeer(const Socket& socket);
// Resolves and tries each address in turn.
[[nodiscard]] Task<Result<Socket>> connectTcp(std::string host, std::uint16_t port, Deadline deadline);
[[nodiscard]] Task<Result<Socket>> connectUnixSocket(std::string path, Deadline deadline);

// Throws operation_aborted when the calling coroutine has been cancelled: I/O here reports errors as values, and a
// cancellation must not be mistaken for a broken connection.
[[nodiscard]] Task<void> throwIfCancelled();

}  // namespace gs

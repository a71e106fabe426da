// Beast's view of a Connection: the AsyncStream under its WebSocket. Internal to src/net/beast.
//
// Not a template: everything that Beast builds on it is compiled once, in web_socket_stream.cc.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/role.hpp>

#include "net/connection.h"

namespace gs {

class BeastStream {
 public:
  using executor_type = Executor;

  // `buffered` is read before anything from the connection.
  BeastStream(std::unique_ptr<Connection> connection, std::string buffered)
      : connection_(std::move(connection)), buffered_(std::move(buffered)), executor_(connection_->executor()) {}

  [[nodiscard]] executor_type get_executor() noexcept { return executor_; }
  [[nodiscard]] Connection& connection() { return *connection_; }
  // When the newest read and write began. A read follows the one before at once, so while one is pending this is when
  // the peer was heard last; none is pending while the consumer pauses, or while Beast waits for its pong to get out.
  [[nodiscard]] SteadyTime readSince() const { return readSince_; }
  [[nodiscard]] SteadyTime writeSince() const { return writeSince_; }
  [[nodiscard]] bool reading() const { return reading_; }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    asio::mutable_buffer into;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      into = *it;
      if (into.size() > 0) break;
    }
    return asio::async_initiate<Token, void(IoError, std::size_t)>(
        [](auto handler, BeastStream* self, asio::mutable_buffer b) {
          self->startRead(b, IoHandler(std::move(handler), &self->reading_));
        },
        token, this, into);
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    struct Pieces {
      std::array<asio::const_buffer, 4> buffers;
      std::size_t count = 0;
    } pieces;
    for (auto it = asio::buffer_sequence_begin(buffers);
         it != asio::buffer_sequence_end(buffers) && pieces.count < pieces.buffers.size(); ++it) {
      const asio::const_buffer piece = *it;
      if (piece.size() > 0) pieces.buffers[pieces.count++] = piece;
    }
    return asio::async_initiate<Token, void(IoError, std::size_t)>(
        [](auto handler, BeastStream* self, Pieces p) {
          self->startWrite(std::span(p.buffers.data(), p.count), IoHandler(std::move(handler)));
        },
        token, this, pieces);
  }

  // Ends the connection so that the peer gets what was sent last: half-close, read to the end for up to two seconds.
  void linger(IoHandler done);

 private:
  void startRead(asio::mutable_buffer into, IoHandler handler);
  void startWrite(std::span<const asio::const_buffer> from, IoHandler handler);

  std::unique_ptr<Connection> connection_;
  std::string buffered_;
  Executor executor_;
  SteadyTime readSince_ = std::chrono::steady_clock::now();
  SteadyTime writeSince_ = readSince_;
  bool reading_ = false;
};

// Found by Beast through argument-dependent lookup.
template <class Handler>
void async_teardown(boost::beast::role_type, BeastStream& stream, Handler&& handler) {
  stream.linger(IoHandler(
      [h = std::forward<Handler>(handler)](const IoError&, std::size_t) mutable { std::move(h)(IoError()); }));
}
inline void beast_close_socket(BeastStream& stream) {
  stream.connection().close();
}

}  // namespace gs

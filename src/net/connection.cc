#include "net/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <sys/socket.h>

namespace gs {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

}  // namespace

Task<void> throwIfCancelled() {
  const auto cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
  if (cancelled != asio::cancellation_type::none) throw boost::system::system_error(asio::error::operation_aborted);
}

Error Connection::explain(const IoError& error) const {
  if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) {
    return makeError(ErrorCode::kUnavailable, "the connection was closed here");
  }
  if (error == asio::error::eof) return makeError(ErrorCode::kUnavailable, "the peer closed the connection");
  return makeError(ErrorCode::kUnavailable, "the connection broke: " + error.message());
}

bool Connection::readable() const {
  char byte = 0;
  const auto got = ::recv(nativeHandle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

bool Connection::peerClosed() const {
  char byte = 0;
  const auto got = ::recv(nativeHandle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

Task<Result<std::size_t>> Connection::readSome(std::span<char> out) {
  const auto [error, bytes] = co_await asyncRead(asio::buffer(out.data(), out.size()), kAwait);
  if (!error) co_return bytes;
  if (error == asio::error::eof) co_return 0;
  if (error == asio::error::operation_aborted) co_await throwIfCancelled();
  co_return fail(explain(error));
}

Task<Status> Connection::write(std::string_view data) {
  return writePieces({data, {}, {}, {}});
}

Task<Status> Connection::writePieces(std::array<std::string_view, 4> pieces) {
  while (true) {
    std::array<asio::const_buffer, 4> buffers;
    std::size_t count = 0;
    for (const auto& piece : pieces) {
      if (!piece.empty()) buffers[count++] = asio::buffer(piece);
    }
    if (count == 0) co_return Status();
    auto [error, bytes] = co_await asyncWrite(std::span(buffers.data(), count), kAwait);
    if (error) {
      if (error == asio::error::operation_aborted) co_await throwIfCancelled();
      co_return fail(explain(error));
    }
    for (auto& piece : pieces) {
      const auto done = std::min(bytes, piece.size());
      piece.remove_prefix(done);
      bytes -= done;
    }
  }
}

}  // namespace gs

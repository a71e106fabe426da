#include "agent/guest_channel/guest_connection.h"

#include <sys/socket.h>

namespace gs {
namespace {

pid_t peerPidOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (fd < 0 || ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return 0;
  return credentials.pid;
}

}  // namespace

GuestConnection::GuestConnection(const Executor& executor, std::unique_ptr<ByteStream> stream)
    : stream_(std::move(stream)), writing_(executor), peerPid_(peerPidOf(stream_->nativeHandle())) {}

Task<Result<std::string_view>> GuestConnection::readFrame() {
  while (true) {
    if (const auto payload = parser_.next()) co_return *payload;
    if (closed_) co_return fail(ErrorCode::kUnavailable, "the connection to the sandbox is closed");
    if (parser_.broken()) {
      close();
      co_return fail(ErrorCode::kDataLoss, "the guest announced a frame over the limit");
    }
    GS_CO_TRY(const auto count, co_await stream_->readSome(parser_.prepare()));
    if (count == 0) {
      close();
      if (parser_.pendingBytes() == 0) co_return fail(ErrorCode::kUnavailable, "the sandbox closed the connection");
      co_return fail(ErrorCode::kDataLoss, "the connection to the sandbox ended inside a frame");
    }
    parser_.commit(count);
  }
}

Task<Status> GuestConnection::writeFrame(std::string payload) {
  const auto guard = co_await writing_.lock();
  if (closed_) co_return fail(ErrorCode::kUnavailable, "the connection to the sandbox is closed");
  if (writeFailed_) co_return fail(ErrorCode::kUnavailable, "the sandbox takes no more on this connection");
  const auto frame = makeGuestFrame(payload);
  struct CloseUnlessReturned {
    GuestConnection& connection;
    bool returned = false;
    ~CloseUnlessReturned() {
      if (!returned) connection.close();
    }
  } whole{*this};
  auto status = co_await stream_->write(frame);
  whole.returned = true;
  // Not closed: a process that ended while its input was on the way has left its output and exit in our queue.
  writeFailed_ = !status.has_value();
  co_return status;
}

void GuestConnection::close() {
  closed_ = true;
  stream_->close();
}

}  // namespace gs

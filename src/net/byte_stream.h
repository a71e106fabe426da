// A connected, ordered, two-way stream of bytes: TCP, TLS over TCP, or a unix socket; the seam behind which Asio's
// socket and TLS types stay.
//
// Loop thread only. One reader and one writer at a time. Destroying it closes the connection.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "async/deadline.h"
#include "async/task.h"

namespace gs {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Some bytes into `out`; 0 is the end of the stream. kUnavailable when the connection broke.
  [[nodiscard]] virtual Task<Result<std::size_t>> readSome(std::span<char> out) = 0;
  // All of `data`, or an error after which the stream is unusable. `data` must stay valid until it returns.
  [[nodiscard]] virtual Task<Status> write(std::string_view data) = 0;
  // Says that no more bytes follow. Repeat is harmless.
  virtual void shutdownWrite() = 0;
  // Drops the connection; pending calls end with kUnavailable. Repeat is harmless.
  virtual void close() = 0;
  // The underlying descriptor, for SO_PEERCRED and the like; -1 when closed. Stays owned by the stream.
  [[nodiscard]] virtual int nativeHandle() const = 0;
};

// Connects to / accepts on a unix socket path. Paths longer than sockaddr_un allows are kInvalidArgument.
[[nodiscard]] Task<Result<std::unique_ptr<ByteStream>>> connectUnix(std::string path, Deadline deadline);

class UnixListener {
 public:
  virtual ~UnixListener() = default;
  [[nodiscard]] virtual Task<Result<std::unique_ptr<ByteStream>>> accept() = 0;
  virtual void close() = 0;
};

// Binds (an existing socket file at the path is replaced; any other file there is kAlreadyExists), mode 0600, listens.
[[nodiscard]] Result<std::unique_ptr<UnixListener>> listenUnix(Executor executor, const std::string& path);

}  // namespace gs

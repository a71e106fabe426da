// One connection from a sandbox, in frames: reading with the parser's limits, writing one whole frame at a time.
//
// Knows no message. Loop thread only. One reader; any number of writers. Shared by its reader and its writers, because
// either may find it broken first. Destroying it closes it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "async/async_mutex.h"
#include "net/byte_stream.h"
#include "wire/guest_frames.h"

namespace gs {

class GuestConnection {
 public:
  GuestConnection(const Executor& executor, std::unique_ptr<ByteStream> stream);

  // The process that connected, as the kernel noted it then, in this host's numbers; 0 when unknown.
  [[nodiscard]] pid_t peerPid() const { return peerPid_; }

  // The next payload, valid until the next call. kUnavailable: closed or broken; kDataLoss: a frame over the limit, or the
  // end in the middle of one; the connection is closed then. Cancelled: one frame may be lost, so close it after.
  [[nodiscard]] Task<Result<std::string_view>> readFrame();
  // Adds the length. Waits for frames that others are writing. kUnavailable: closed, or the peer takes no more; what it
  // sent before can still be read then, and reading is what tells its end. Later writes fail too.
  // Cancelled while the bytes go out: the connection is closed, because half a frame may be in it.
  [[nodiscard]] Task<Status> writeFrame(std::string payload);
  // Pending calls end with kUnavailable. Repeat is harmless.
  void close();

 private:
  std::unique_ptr<ByteStream> stream_;
  AsyncMutex writing_;
  GuestFrameParser parser_;
  pid_t peerPid_ = 0;
  bool closed_ = false;
  bool writeFailed_ = false;
};

}  // namespace gs

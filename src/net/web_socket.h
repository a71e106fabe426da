// A WebSocket (RFC 6455) carrying binary messages.
//
// Loop thread only. One reader at a time; writes are serialised inside, so any number of tasks may write. One message
// is read ahead; until that one is taken nothing more is read, which is how a slow reader slows the peer. Pings from
// the peer are answered, and a peer that went away is noticed, whenever no read-ahead message waits. Text messages are
// treated as a protocol error (close 1003): every protocol here is binary. Compression is off.
// Cancelling read() loses nothing; cancelling write() breaks the connection when part of the message is out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/deadline.h"
#include "async/task.h"

namespace gs {

struct WsClose {
  std::uint16_t code = 1006;  // 1006: the connection broke without a close frame
  std::string reason;
};

// A ping goes out after `pingAfter` without a byte from the peer; after `dropAfter` the connection is dropped (1006).
// A side that has stopped reading because its own consumer is slow still pings, and drops nobody meanwhile.
struct WsKeepAlive {
  Millis pingAfter{10'000};
  Millis dropAfter{20'000};
};

class WebSocket {
 public:
  virtual ~WebSocket() = default;
  // One message. kUnavailable when closed or broken (see closed()); kResourceExhausted when the peer sent a message
  // over the limit, after which the connection was closed with 1009.
  [[nodiscard]] virtual Task<Result<std::string>> read() = 0;
  [[nodiscard]] virtual Task<Status> write(std::string_view message) = 0;
  // Sends a close frame and waits up to two seconds for the peer's. Repeat is harmless. The reason is cut at 120 bytes.
  [[nodiscard]] virtual Task<void> close(std::uint16_t code, std::string reason) = 0;
  // Drops the connection now; pending calls end with kUnavailable.
  virtual void abort() = 0;
  // How it ended, once read() has failed.
  [[nodiscard]] virtual const WsClose& closed() const = 0;
  // True while the peer has sent nothing that a read would find broken; used to choose among parked spares.
  [[nodiscard]] virtual bool isOpen() const = 0;
};

}  // namespace gs

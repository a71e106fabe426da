// The live links: which host can be spoken to now, and how to tell it something.
//
// Loop thread only. Nothing here is durable: after a restart it is empty and fills as agents dial in. What must reach a
// host is in the store; the hub only makes it arrive sooner.
#pragma once

#include <functional>
#include <memory>

#include "async/deadline.h"
#include "async/task.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

class LinkHub {
 public:
  virtual ~LinkHub() = default;
  [[nodiscard]] virtual bool isConnected(const HostId& host) const = 0;
  // Sends when the host is connected; otherwise does nothing (the reconnect brings it). Never blocks.
  virtual void sendAssignment(const HostId& host, const Assignment& assignment) = 0;
  // Cuts the link and every spare channel of the host with that close code, now. Unknown host: nothing.
  virtual void cut(const HostId& host, std::uint16_t code, std::string reason) = 0;
  // A data channel of the host, ready for SessionOpen: a spare, or one asked for now. kUnavailable when the host is not
  // connected, kDeadlineExceeded when no channel came in time. Each channel is given out once.
  [[nodiscard]] virtual Task<Result<std::shared_ptr<WebSocket>>> takeChannel(HostId host, Deadline deadline) = 0;
  // Sandboxes that the host holds and of which there was no record for it here when its link came up (HeldRequest). Empty
  // when it is not connected, or has not told yet.
  [[nodiscard]] virtual std::vector<HeldSandbox> unknownSandboxes(const HostId& host) const = 0;
  // Passes a person's confirmation on and returns how many deletions were released; errors and repeats as the message
  // ConfirmDeletions says. kFailedPrecondition: not connected (host_disconnected), or its agent has no fence
  // (agent_too_old). kDeadlineExceeded: no answer came, and nobody knows.
  [[nodiscard]] virtual Task<Result<std::uint32_t>> confirmDeletions(HostId host, std::string fence, Deadline deadline) = 0;
  // Likewise a person's no (RejectDeletions): returns how many were rejected.
  [[nodiscard]] virtual Task<Result<std::uint32_t>> rejectDeletions(HostId host, std::string fence, Deadline deadline) = 0;
};

}  // namespace gs

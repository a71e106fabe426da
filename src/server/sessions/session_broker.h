// Joins a client's session WebSocket to a data channel of the host that runs the sandbox, and carries frames untouched.
//
// Memory: at most two messages of 64 KiB in flight each way; TCP is the flow control. A client that goes away closes
// the channel, which ends the process (see openSession in the HTTP contract).
#pragma once

#include "net/web_socket.h"
#include "server/sessions/attach_tickets.h"
#include "server/store/store.h"

namespace gs {

class SessionBroker {
 public:
  virtual ~SessionBroker() = default;
  // Runs the whole session: reads the open frame (within 10 s), finds the sandbox in the actor's tenant, waits for it to
  // run when asked, takes a channel, splices until either side ends. Always closes the client's socket. Failures become
  // an error frame and a 4xxx close. The session's begin and end are in the audit log. With a grant, nothing but an attach
  // that it covers is let in (kPermissionDenied).
  [[nodiscard]] virtual Task<void> run(Actor actor, std::shared_ptr<WebSocket> client, std::optional<TicketGrant> grant) = 0;
};

}  // namespace gs

// Serves HTTP/1.1 on one accepted connection: requests one after another until one side ends it, or a WebSocket.
// Internal to src/net.
#pragma once

#include "net/connection.h"
#include "net/http_server.h"
#include "net/watchdog.h"

namespace gs {

// Returns when the connection is over; cancellation drops it. The handler must outlive the call.
[[nodiscard]] Task<void> serveHttp(std::unique_ptr<Connection> stream, const HttpHandler* handler);

// Says that nothing follows and reads what still comes for up to two seconds, because closing a socket with unread
// bytes resets it, and a reset makes the peer lose the answer that it has not read yet.
[[nodiscard]] Task<void> lingerAndClose(Connection& stream, Watchdog& watchdog);

}  // namespace gs

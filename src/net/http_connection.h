// Serves HTTP/1.1 on one accepted connection: requests one after another until one side ends it, or a WebSocket.
// Internal to src/net.
#pragma once

#include "net/connection.h"
#include "net/http_server.h"
#include "net/watchdog.h"

namespace gs {

// A connection that has become a WebSocket. Handed out instead of being run inside, because the frames and buffers of
// the HTTP side would otherwise stay for as long as it lives: 4 KiB for each of thousands of idle agents.
struct PendingWebSocket {
  std::unique_ptr<Connection> stream;
  HttpRequest request;
  std::string buffered;
  HttpResponse::Upgrade upgrade;
  HttpHeaders headers;  // the handler's, for the handshake's answer
};

// Returns when the HTTP side is over; cancellation drops the connection. What it points at must outlive the call.
[[nodiscard]] Task<std::optional<PendingWebSocket>> serveHttp(std::unique_ptr<Connection> stream,
                                                              const HttpHandler* handler, HttpServerTimes times);

// Completes the handshake, lives as long as the handler's function, and drops the connection.
[[nodiscard]] Task<void> runWebSocket(PendingWebSocket pending);

// Says that nothing follows and reads what still comes for up to two seconds, because closing a socket with unread
// bytes resets it, and a reset makes the peer lose the answer that it has not read yet.
[[nodiscard]] Task<void> lingerAndClose(Connection& stream, Watchdog& watchdog);

}  // namespace gs

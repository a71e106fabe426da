// An HTTP/1.1 server on one listening socket, plain or TLS, with keep-alive, streaming bodies and WebSocket upgrades.
//
// Loop thread only. stop() must have returned before it is destroyed. Limits: header block 32 KiB, idle keep-alive
// connection 60 s, handshake and header 10 s, 60 s without progress in a body, at most `maxConnections` at once
// (further ones are answered 503 with Retry-After, or dropped before TLS). Garbage is answered 400 and the connection
// closed. An exception out of a handler is logged and answered 500.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/task_group.h"
#include "net/http_message.h"
#include "net/tls.h"

namespace gs {

// Called for each request; the body must be read (or left: then the connection is closed after the answer when more
// than 64 KiB of it are unread). The request and the reader outlive the call.
using HttpHandler = std::function<Task<HttpResponse>(HttpRequest&, BodyReader&)>;

// How long a connection may keep the server waiting. What is over time is dropped without an answer.
struct HttpServerTimes {
  Millis head{10'000};   // TLS handshake; each request's head from its first byte on
  Millis idle{60'000};   // between requests
  Millis stall{60'000};  // for each piece of a body, in either direction
};

struct HttpServerSettings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;                 // 0: any free port
  std::shared_ptr<TlsServerContext> tls;  // none: plain
  std::size_t maxConnections = 20'000;
  HttpServerTimes times{};
};

class HttpServer {
 public:
  virtual ~HttpServer() = default;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  // New connections use it; live ones are left alone.
  virtual void replaceTls(std::shared_ptr<TlsServerContext> tls) = 0;
  // Stops accepting, cancels handlers and connections, and joins. Repeat is harmless.
  [[nodiscard]] virtual Task<void> stop() = 0;
};

// Binds, listens and starts serving. kUnavailable with the address and the fix when the port is taken.
[[nodiscard]] Result<std::unique_ptr<HttpServer>> startHttpServer(Executor executor, HttpServerSettings settings,
                                                                  HttpHandler handler);

}  // namespace gs

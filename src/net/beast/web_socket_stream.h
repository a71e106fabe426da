// WebSocket handshakes of both sides over a Connection; Beast's WebSocket behind gs::WebSocket. Internal to src/net.
#pragma once

#include "net/beast/http_parser.h"
#include "net/connection.h"
#include "net/http_client.h"

namespace gs {

struct WsSettings {
  std::string subprotocol;
  std::size_t maxMessageBytes = 256 * 1024;
  WsKeepAlive keepAlive;
  // A client masks every byte into this buffer and writes from it; a server needs none.
  std::size_t writeBufferBytes = 64 * 1024;
  HttpHeaders responseHeaders;  // of a server's answer to the handshake
};

// `buffered` are bytes that came behind the request. The caller bounds it in time by closing the connection.
[[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> acceptWebSocket(std::unique_ptr<Connection> connection,
                                                                       HttpRequest request, std::string buffered,
                                                                       WsSettings settings);
[[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> connectWebSocket(std::unique_ptr<Connection> connection,
                                                                        std::string host, std::string target,
                                                                        HttpHeaders headers, WsSettings settings,
                                                                        Deadline deadline);

}  // namespace gs

// An HTTP/1.1 client for one endpoint: TCP, TLS or a unix socket (the Docker Engine API).
//
// Loop thread only. Connections are kept alive and reused (at most `maxIdle` idle ones, 30 s). One that the peer has
// closed meanwhile is noticed before anything is sent. A request that fails on a reused connection before any byte of
// the answer came is sent again once on a fresh one when that is harmless: an idempotent method (RFC 9110 §9.2.2) and
// no body stream that was begun.
#pragma once

#include <memory>
#include <string>

#include "async/deadline.h"
#include "net/byte_stream.h"
#include "net/http_message.h"

namespace gs {

struct HttpEndpoint {
  std::string host;  // DNS name or address; also the Host header and the name checked in the certificate
  std::uint16_t port = 0;
  std::string unixPath;  // set: a unix socket, host and port are unused
  std::shared_ptr<TlsClientContext> tls;
  bool secure = false;  // https: connecting without `tls` is kFailedPrecondition, never plain

  // Parses http://host:port, https://host:port (443/80 by default), unix:///path. kInvalidArgument names the fix.
  [[nodiscard]] static Result<HttpEndpoint> parse(std::string_view url);
  [[nodiscard]] std::string describe() const;
};

struct HttpClientRequest {
  std::string method = "GET";
  std::string target = "/";
  HttpHeaders headers;
  std::string body;
  std::unique_ptr<BodySource> stream;  // instead of body
};

struct HttpClientResponse {
  int status = 0;
  HttpHeaders headers;
  std::string body;
};

// A response whose body is still arriving. Destroying it before the end drops the connection.
class HttpStreamingResponse : public BodyReader {
 public:
  [[nodiscard]] virtual int status() const = 0;
  [[nodiscard]] virtual const HttpHeaders& headers() const = 0;
  [[nodiscard]] virtual std::optional<std::uint64_t> contentLength() const = 0;
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // The whole exchange; the body is refused past `maxBodyBytes` (kResourceExhausted). kUnavailable: no connection, or
  // it broke; kUnauthenticated: the TLS peer is not who it must be (reason "tls_pin_mismatch" for a pin);
  // kDeadlineExceeded: the deadline covers connecting, sending and receiving. Statuses of 400 and above are not errors.
  [[nodiscard]] virtual Task<Result<HttpClientResponse>> send(HttpClientRequest request, Deadline deadline,
                                                              std::size_t maxBodyBytes = 8 * 1024 * 1024) = 0;
  // The deadline covers up to the end of the response's header; the caller bounds the body.
  [[nodiscard]] virtual Task<Result<std::unique_ptr<HttpStreamingResponse>>> open(HttpClientRequest request,
                                                                                  Deadline deadline) = 0;
  // A fresh connection. An HTTP answer other than 101 is an error whose code comes from the status (401 →
  // kUnauthenticated, 403 → kPermissionDenied, 404 → kNotFound, 409 → kFailedPrecondition, 429/503 → kUnavailable) and
  // whose message is the body's first 1 KiB, escaped.
  struct WebSocketRequest {
    std::string target;
    std::string subprotocol;
    HttpHeaders headers;
    std::size_t maxMessageBytes = 256 * 1024;
    WsKeepAlive keepAlive{};
  };
  [[nodiscard]] virtual Task<Result<std::shared_ptr<WebSocket>>> connectWebSocket(WebSocketRequest request,
                                                                                  Deadline deadline) = 0;
};

[[nodiscard]] std::unique_ptr<HttpClient> makeHttpClient(Executor executor, HttpEndpoint endpoint,
                                                         std::size_t maxIdle = 4);

}  // namespace gs

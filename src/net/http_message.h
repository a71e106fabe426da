// HTTP requests and responses as plain values, without Beast types.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "net/tls.h"
#include "net/web_socket.h"

namespace gs {

// Ordered; names compare without case (RFC 9110 §5.1).
class HttpHeaders {
 public:
  void set(std::string_view name, std::string value);  // replaces all of that name
  void add(std::string_view name, std::string value);
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;  // the first
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& all() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

struct HttpRequest {
  std::string method;
  std::string target;                                      // as sent
  std::string path;                                        // percent-decoded; "/" first; no "..", no NUL
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  HttpHeaders headers;
  PeerInfo peer;
  bool webSocketUpgrade = false;
  std::optional<std::uint64_t> contentLength;
  // Whether the client has left: it closed its side, or the connection broke. For answers that take long; valid until
  // the answer is sent.
  std::function<bool()> clientLeft = [] { return false; };

  [[nodiscard]] std::optional<std::string_view> findQuery(std::string_view key) const;
};

// The body of a message that is being received. Loop thread; must not outlive the message.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next piece (1 byte .. 256 KiB); empty at the end. kUnavailable when the peer went away before the end.
  [[nodiscard]] virtual Task<Result<std::string>> next() = 0;
};
// All of it; kResourceExhausted past `limit`, without reading more.
[[nodiscard]] Task<Result<std::string>> readAll(BodyReader& body, std::size_t limit);

// The body of a message that is being sent by pieces. Owned by the message.
class BodySource {
 public:
  virtual ~BodySource() = default;
  [[nodiscard]] virtual Task<Result<std::string>> next() = 0;  // empty at the end; an error cuts the connection
  // Known size: sent as Content-Length, and exactly that many bytes must come. Unknown: chunked.
  [[nodiscard]] virtual std::optional<std::uint64_t> sizeBytes() const = 0;
};

struct HttpResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;
  std::unique_ptr<BodySource> stream;  // instead of body
  // Answer to an upgrade request: the handshake is completed with this subprotocol and the function then owns the
  // socket; the connection lives as long as the function runs.
  struct Upgrade {
    std::string subprotocol;
    std::size_t maxMessageBytes = 256 * 1024;
    WsKeepAlive keepAlive{};
    std::function<Task<void>(std::shared_ptr<WebSocket>)> run;
  };
  std::optional<Upgrade> upgrade;
};

}  // namespace gs

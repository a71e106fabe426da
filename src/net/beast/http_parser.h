// HTTP/1.1 message heads and chunked bodies from bytes, without I/O: Beast's parser behind plain values.
//
// Pure: bytes in, values out, so that it can be fuzzed. Limits: header block 32 KiB, 200 fields; a chunk header or
// trailer 16 KiB. Refused beyond what Beast refuses: a transfer coding other than "chunked", HTTP/1.1 requests without
// exactly one Host, bytes before the first that cannot begin a message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_message.h"

namespace gs {

struct HttpHead {
  enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

  std::string method;  // requests
  std::string target;
  int status = 0;  // responses
  HttpHeaders headers;
  bool http11 = true;
  bool keepAlive = true;
  bool upgrade = false;  // the Connection header says so
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;  // kLength
};

class HttpParser {
 public:
  enum class Side : std::uint8_t { kRequest, kResponse };
  // A response to HEAD has no body whatever its headers say.
  enum class Body : std::uint8_t { kAsFramed, kNever };

  virtual ~HttpParser() = default;
  // `buffered` is all that came so far and is cut by what was used. Nothing: more bytes are needed. kInvalidArgument:
  // no HTTP; kResourceExhausted (reason "header_too_large"): over a limit. One call after it gave a head is a bug.
  [[nodiscard]] virtual Result<std::optional<HttpHead>> parseHead(std::string& buffered) = 0;
  // Decodes chunked bytes from the front of `buffered`, cutting what was used; empty: more bytes are needed, or done.
  [[nodiscard]] virtual Result<std::string> decodeChunked(std::string& buffered) = 0;
  [[nodiscard]] virtual bool chunkedDone() const = 0;
};

[[nodiscard]] std::unique_ptr<HttpParser> makeHttpParser(HttpParser::Side side,
                                                         HttpParser::Body body = HttpParser::Body::kAsFramed);

}  // namespace gs

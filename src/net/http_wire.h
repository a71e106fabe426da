// HTTP/1.1 messages over a Connection: what client and server share. Internal to src/net.
//
// Nothing here is bounded in time: callers hold a Watchdog. Memory is: one head (32 KiB) and one piece (256 KiB).
#pragma once

#include "net/beast/http_parser.h"
#include "net/connection.h"
#include "net/watchdog.h"

namespace gs {

// Reads one message after another.
class HttpReader {
 public:
  HttpReader(Connection& connection, HttpParser::Side side) : connection_(connection), side_(side) {}

  // False: the peer closed before a first byte.
  [[nodiscard]] Task<Result<bool>> waitForMessage();
  // kUnavailable when the peer closes before the end; parser errors as they are.
  [[nodiscard]] Task<Result<HttpHead>> readHead(HttpParser::Body body = HttpParser::Body::kAsFramed);
  // The next piece of the body of the last head; empty at its end.
  [[nodiscard]] Task<Result<std::string>> nextPiece();
  [[nodiscard]] bool bodyDone() const { return framing_ == HttpHead::Framing::kNone; }
  // What is certainly still to come; nothing when that is unknown.
  [[nodiscard]] std::optional<std::uint64_t> remaining() const;
  // Bytes behind the last message.
  [[nodiscard]] bool hasBuffered() const { return !buffered_.empty(); }
  [[nodiscard]] std::string takeBuffered() { return std::exchange(buffered_, {}); }

 private:
  [[nodiscard]] Task<Result<std::size_t>> fill(std::size_t bytes);

  Connection& connection_;
  HttpParser::Side side_;
  std::unique_ptr<HttpParser> parser_;
  std::string buffered_;
  HttpHead::Framing framing_ = HttpHead::Framing::kNone;
  std::uint64_t remaining_ = 0;
  std::size_t pieceBytes_ = 0;
};

// kInvalidArgument when a name or value would break out of its line.
[[nodiscard]] Status appendHeaders(std::string& head, const HttpHeaders& headers);

// Sends `head` and a body: `stream` when there is one (chunked unless its size is known), else `body`. The head must
// already announce the framing and end with the empty line. Each piece must be gone within `stall`.
[[nodiscard]] Task<Status> writeMessage(Connection& connection, Watchdog& watchdog, Millis stall, std::string head,
                                        std::string_view body, BodySource* stream);

}  // namespace gs

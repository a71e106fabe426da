#include "net/http_connection.h"

#include <boost/asio/this_coro.hpp>

#include <ctime>

#include "base/encoding.h"
#include "base/ids.h"
#include "base/log.h"
#include "net/beast/web_socket_stream.h"
#include "net/http_target.h"
#include "net/http_wire.h"

namespace gs {
namespace {

constexpr Millis kLingerTime{2'000};
constexpr std::size_t kMaxUnread = 64 * 1024;

std::string_view reasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 426:
      return "Upgrade Required";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

std::string jsonText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Only for what no handler saw: the API's own problems are made in server/api.
HttpResponse problem(int status, std::string_view code, std::string_view detail) {
  HttpResponse out;
  out.status = status;
  const std::string requestId = RequestId::make().text();
  out.headers.set("Content-Type", "application/problem+json");
  out.headers.set("X-Request-Id", requestId);
  out.body = fmt::format(
      R"({{"type":"https://gstacks.dev/problems/{0}","title":"{1}","status":{2},"code":"{0}","detail":"{3}","instance":"","requestId":"{4}"}})",
      code, reasonPhrase(status), status, jsonText(escapeForLog(detail)), requestId);
  return out;
}

std::string httpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  const auto size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, size};
}

bool headerHas(const HttpHeaders& headers, std::string_view name, std::string_view value) {
  const auto found = headers.find(name);
  return found && found->size() == value.size() &&
         std::ranges::equal(*found, value,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

class ServerBody final : public BodyReader {
 public:
  ServerBody(Connection& stream, HttpReader& reader, Watchdog& watchdog, Millis stall, bool awaitsContinue)
      : stream_(stream), reader_(reader), watchdog_(watchdog), stall_(stall), awaitsContinue_(awaitsContinue) {}

  Task<Result<std::string>> next() override {
    if (reader_.bodyDone()) co_return std::string();
    watchdog_.arm(Deadline::after(stall_));
    if (std::exchange(awaitsContinue_, false)) GS_CO_CHECK(co_await stream_.write("HTTP/1.1 100 Continue\r\n\r\n"));
    auto piece = co_await reader_.nextPiece();
    if (!watchdog_.expired()) watchdog_.disarm();
    if (!piece && piece.error().code == ErrorCode::kInvalidArgument) broken_ = true;
    co_return piece;
  }
  // The client waits for a permission that was never given, so it may or may not send the body.
  [[nodiscard]] bool awaitsContinue() const { return awaitsContinue_; }
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  Connection& stream_;
  HttpReader& reader_;
  Watchdog& watchdog_;
  Millis stall_;
  bool awaitsContinue_;
  bool broken_ = false;
};

class ServedConnection {
 public:
  ServedConnection(std::unique_ptr<Connection> stream, const HttpHandler& handler, HttpServerTimes times)
      : stream_(std::move(stream)),
        reader_(*stream_, HttpParser::Side::kRequest),
        watchdog_(std::in_place, stream_->executor(), *stream_),
        handler_(handler),
        times_(times) {}

  Task<void> run() {
    watchdog_->arm(Deadline::after(times_.head));
    while (true) {
      const auto came = co_await reader_.waitForMessage();
      if (!came || !*came) co_return;
      watchdog_->arm(Deadline::after(times_.head));
      auto head = co_await reader_.readHead();
      if (!head) co_return co_await refuse(head.error());
      watchdog_->disarm();
      if (co_await serveOne(std::move(*head)) == Next::kClose) co_return;
      watchdog_->arm(Deadline::after(times_.idle));
    }
  }
  [[nodiscard]] std::optional<PendingWebSocket> takePending() { return std::move(pending_); }

 private:
  enum class Next : std::uint8_t { kRequest, kClose };

  Task<void> refuse(Error error) {
    if (error.code == ErrorCode::kUnavailable) co_return;
    const int status = error.reason == "header_too_large" ? 431 : 400;
    auto response = problem(status, errorCodeName(error.code), error.message);
    if (co_await sendResponse(response, "GET", Next::kClose)) co_await lingerAndClose(*stream_, *watchdog_);
  }

  Result<HttpRequest> makeRequest(HttpHead& head) {
    GS_TRY(auto target, parseHttpTarget(head.target));
    HttpRequest request;
    request.method = std::move(head.method);
    request.target = std::move(head.target);
    request.path = std::move(target.path);
    request.query = std::move(target.query);
    request.headers = std::move(head.headers);
    request.peer = stream_->peer();
    request.clientLeft = [stream = stream_.get()] { return stream->peerClosed(); };
    if (head.framing != HttpHead::Framing::kChunked) request.contentLength = head.length;
    if (head.upgrade && headerHas(request.headers, "Upgrade", "websocket")) {
      const auto key = request.headers.find("Sec-WebSocket-Key");
      if (request.method != "GET" || !head.http11 || head.framing != HttpHead::Framing::kNone || !key ||
          key->size() != 24 || !headerHas(request.headers, "Sec-WebSocket-Version", "13")) {
        return fail(ErrorCode::kInvalidArgument, "this WebSocket handshake is not RFC 6455 version 13");
      }
      request.webSocketUpgrade = true;
    }
    return request;
  }

  Task<Next> serveOne(HttpHead head) {
    auto request = makeRequest(head);
    if (!request) {
      co_await refuse(request.error());
      co_return Next::kClose;
    }
    ServerBody body(*stream_, reader_, *watchdog_, times_.stall,
                    head.http11 && headerHas(request->headers, "Expect", "100-continue"));
    auto response = co_await callHandler(*request, body);
    if (response.upgrade && request->webSocketUpgrade) {
      watchdog_.reset();  // it must not outlive the stream
      pending_.emplace(std::move(stream_), std::move(*request), reader_.takeBuffered(), std::move(*response.upgrade),
                       std::move(response.headers));
      co_return Next::kClose;
    }
    if (response.upgrade) {
      response = problem(426, "failed_precondition", "this is a WebSocket: send an upgrade request");
      response.headers.set("Upgrade", "websocket");
    }
    const auto unread = reader_.remaining();
    const bool tooMuch =
        body.broken() || (unread && *unread > kMaxUnread) || (body.awaitsContinue() && !reader_.bodyDone());
    auto next = head.keepAlive && !tooMuch ? Next::kRequest : Next::kClose;
    const auto sent = co_await sendResponse(response, request->method, next);
    if (!sent) {
      if (!watchdog_->expired()) logDebug("http_response_cut", {{"error", sent.error().describe()}});
      co_return Next::kClose;
    }
    if (next == Next::kRequest && !co_await drain()) next = Next::kClose;
    if (next == Next::kClose) co_await lingerAndClose(*stream_, *watchdog_);
    co_return next;
  }

  Task<HttpResponse> callHandler(HttpRequest& request, BodyReader& body) {
    std::string what;
    try {
      co_return co_await handler_(request, body);
    } catch (const std::exception& e) {
      what = e.what();
    }
    co_await throwIfCancelled();
    logError("http_handler_threw", {{"method", request.method}, {"path", escapeForLog(request.path)}, {"error", what}});
    co_return problem(500, "internal", "the server failed; its log says why");
  }

  Task<Status> sendResponse(HttpResponse& response, std::string_view method, Next next) {
    auto head =
        fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, reasonPhrase(response.status), httpDate());
    GS_CO_CHECK(appendHeaders(head, response.headers));
    const bool never = response.status == 204 || response.status == 304 || response.status < 200;
    const auto size =
        response.stream ? response.stream->sizeBytes() : std::optional<std::uint64_t>(response.body.size());
    if (!never) head += size ? fmt::format("Content-Length: {}\r\n", *size) : "Transfer-Encoding: chunked\r\n";
    if (next == Next::kClose) head += "Connection: close\r\n";
    head += "\r\n";
    const bool withBody = !never && method != "HEAD";
    auto status = co_await writeMessage(*stream_, *watchdog_, times_.stall, std::move(head),
                                        withBody ? std::string_view(response.body) : std::string_view(),
                                        withBody ? response.stream.get() : nullptr);
    if (!watchdog_->expired()) watchdog_->disarm();
    co_return status;
  }

  // False when what the handler left unread is more than is worth reading.
  Task<bool> drain() {
    std::size_t read = 0;
    watchdog_->arm(Deadline::after(times_.head));
    while (!reader_.bodyDone()) {
      const auto piece = co_await reader_.nextPiece();
      if (!piece || (read += piece->size()) > kMaxUnread) co_return false;
    }
    co_return true;
  }

  std::unique_ptr<Connection> stream_;
  HttpReader reader_;
  std::optional<Watchdog> watchdog_;
  const HttpHandler& handler_;
  HttpServerTimes times_;
  std::optional<PendingWebSocket> pending_;
};

}  // namespace

Task<void> lingerAndClose(Connection& stream, Watchdog& watchdog) {
  watchdog.arm(Deadline::after(kLingerTime));
  stream.shutdownWrite();
  std::array<char, 4096> waste;
  while (true) {
    const auto got = co_await stream.readSome(waste);
    if (!got || *got == 0) break;
  }
  stream.close();
}

Task<std::optional<PendingWebSocket>> serveHttp(std::unique_ptr<Connection> stream, const HttpHandler* handler,
                                                HttpServerTimes times) {
  ServedConnection connection(std::move(stream), *handler, times);
  co_await connection.run();
  co_return connection.takePending();
}

Task<void> runWebSocket(PendingWebSocket pending) {
  WsSettings settings;
  settings.subprotocol = std::move(pending.upgrade.subprotocol);
  settings.maxMessageBytes = pending.upgrade.maxMessageBytes;
  settings.keepAlive = pending.upgrade.keepAlive;
  settings.responseHeaders = std::move(pending.headers);
  auto socket = co_await acceptWebSocket(std::move(pending.stream), std::move(pending.request),
                                         std::move(pending.buffered), std::move(settings));
  if (!socket) {
    logDebug("websocket_handshake_failed", {{"error", socket.error().describe()}});
    co_return;
  }
  std::string what;
  try {
    co_await pending.upgrade.run(*socket);
  } catch (const std::exception& e) {
    what = e.what();
  }
  (*socket)->abort();
  co_await throwIfCancelled();
  if (!what.empty()) logError("websocket_handler_threw", {{"error", what}});
}

}  // namespace gs

// A server and its clients on one private loop, for this module's tests.
#pragma once

#include <gtest/gtest.h>

#include <utility>

#include "async/run_task.h"
#include "async/task_group.h"
#include "net/connection.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace gs {

class NetFixture : public testing::Test {
 protected:
  static Deadline soon() { return Deadline::after(Millis(20'000)); }

  // Starts a server for the handler, runs `body` against its endpoint, and stops the server.
  void withServer(HttpHandler handler, std::function<Task<void>(HttpEndpoint)> body, HttpServerSettings settings = {}) {
    auto server = startHttpServer(loop_.get_executor(), std::move(settings), std::move(handler));
    ASSERT_TRUE(server.has_value()) << server.error().describe();
    server_ = std::move(*server);
    HttpEndpoint endpoint;
    endpoint.host = "127.0.0.1";
    endpoint.port = server_->port();
    runTask(loop_, runAndStop(body, endpoint));
  }
  Task<void> runAndStop(std::function<Task<void>(HttpEndpoint)> body, HttpEndpoint endpoint) {
    std::exception_ptr failure;
    try {
      co_await body(endpoint);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await server_->stop();
    if (failure) std::rethrow_exception(failure);
  }

  std::unique_ptr<HttpClient> client(const HttpEndpoint& endpoint) {
    return makeHttpClient(loop_.get_executor(), endpoint);
  }

  // Everything that the server says to these bytes until it closes.
  static Task<std::string> rawExchange(HttpEndpoint endpoint, std::string bytes) {
    auto socket = co_await connectTcp(endpoint.host, endpoint.port, soon());
    if (!socket) co_return "no connection";
    const auto stream = makeSocketStream(std::move(*socket), {});
    (void)co_await stream->write(bytes);
    stream->shutdownWrite();
    std::string all;
    std::array<char, 4096> part;
    while (true) {
      const auto got = co_await stream->readSome(part);
      if (!got || *got == 0) co_return all;
      all.append(part.data(), *got);
    }
  }

  asio::io_context loop_;
  std::unique_ptr<HttpServer> server_;
};

// `count` bytes whose value depends on their position.
inline std::string patternBytes(std::size_t count, std::size_t from = 0) {
  std::string out(count, '\0');
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<char>((from + i) * 131 % 251);
  return out;
}

class PatternSource final : public BodySource {
 public:
  enum class Size { kKnown, kUnknown };
  PatternSource(std::size_t total, Size size) : total_(total), size_(size) {}
  Task<Result<std::string>> next() override {
    // A period of the pattern, so that every piece is the same and making it does not dominate.
    static const std::string kPiece = patternBytes(251 * 512);
    auto piece = kPiece.substr(0, std::min(kPiece.size(), total_ - sent_));
    sent_ += piece.size();
    co_return piece;
  }
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override {
    return size_ == Size::kKnown ? std::optional<std::uint64_t>(total_) : std::nullopt;
  }

 private:
  std::size_t total_;
  Size size_;
  std::size_t sent_ = 0;
};

// Reads to the end and counts; -1 as soon as a byte is not the pattern's.
inline Task<std::int64_t> countPattern(BodyReader& body) {
  static const std::string kPeriod = patternBytes(251 * 2048);
  std::size_t count = 0;
  while (true) {
    auto piece = co_await body.next();
    if (!piece) co_return -2;
    if (piece->empty()) co_return static_cast<std::int64_t>(count);
    if (std::string_view(kPeriod).substr(count % 251, piece->size()) != *piece) co_return -1;
    count += piece->size();
  }
}

}  // namespace gs

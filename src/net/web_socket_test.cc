#include "async/with_deadline.h"
#include "net/net_fixture.h"

namespace gs {
namespace {

using WebSocketTest = NetFixture;
using SocketPtr = std::shared_ptr<WebSocket>;

Task<void> echoMessages(SocketPtr socket) {
  while (true) {
    auto message = co_await socket->read();
    if (!message) co_return;
    if (!co_await socket->write(*message)) co_return;
  }
}

Task<void> closeAtOnce(SocketPtr socket) {
  co_await socket->close(4404, "no such sandbox");
}

Task<void> sayNothing(SocketPtr) {
  co_await sleepUntil(Deadline::never());
}

Task<HttpResponse> webSockets(HttpRequest& request, BodyReader&) {
  HttpResponse response;
  if (request.path == "/refused") {
    response.status = 401;
    response.body = "who are you\n";
    co_return response;
  }
  response.upgrade =
      HttpResponse::Upgrade{.subprotocol = "test.v1", .maxMessageBytes = 300 * 1024, .keepAlive = {}, .run = {}};
  response.upgrade->run = request.path == "/close" ? closeAtOnce : request.path == "/mute" ? sayNothing : echoMessages;
  if (request.path == "/quick") response.upgrade->keepAlive = {Millis(40), Millis(80)};
  co_return response;
}

HttpClient::WebSocketRequest to(std::string target) {
  HttpClient::WebSocketRequest request;
  request.target = std::move(target);
  request.subprotocol = "test.v1";
  request.maxMessageBytes = 400 * 1024;
  return request;
}

TEST_F(WebSocketTest, EchoesEveryByteValueAndEverySizeUpToTheLimit) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await client(endpoint)->connectWebSocket(to("/echo"), soon());
    EXPECT_TRUE(socket.has_value()) << socket.error().describe();
    if (!socket) co_return;
    std::string all;
    for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
    for (const auto& message : {all, std::string(), patternBytes(125), patternBytes(126), patternBytes(65'535),
                                patternBytes(65'536), patternBytes(300 * 1024)}) {
      EXPECT_TRUE((co_await (*socket)->write(message)).has_value());
      EXPECT_TRUE((co_await (*socket)->read()).value() == message) << message.size();
    }
    EXPECT_TRUE((*socket)->isOpen());
    co_await (*socket)->close(1000, "done");
    EXPECT_EQ((*socket)->closed().code, 1000);
    EXPECT_FALSE((*socket)->isOpen());
    EXPECT_EQ((co_await (*socket)->write("x")).error().code, ErrorCode::kUnavailable);
  });
}

TEST_F(WebSocketTest, AMessageOverTheLimitClosesWith1009) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await client(endpoint)->connectWebSocket(to("/echo"), soon());
    (void)co_await (*socket)->write(patternBytes(300 * 1024 + 1));
    const auto message = co_await (*socket)->read();
    EXPECT_EQ(message.error().code, ErrorCode::kUnavailable) << message.error().describe();
    EXPECT_EQ((*socket)->closed().code, 1009);
  });
}

TEST_F(WebSocketTest, TellsCodeAndReasonOfThePeersClose) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await client(endpoint)->connectWebSocket(to("/close"), soon());
    EXPECT_FALSE((co_await (*socket)->read()).has_value());
    EXPECT_EQ((*socket)->closed().code, 4404);
    EXPECT_EQ((*socket)->closed().reason, "no such sandbox");
    EXPECT_FALSE((*socket)->isOpen());
  });
}

TEST_F(WebSocketTest, ARefusedUpgradeIsAnErrorWithTheServersWords) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto socket = co_await client(endpoint)->connectWebSocket(to("/refused"), soon());
    EXPECT_EQ(socket.error().code, ErrorCode::kUnauthenticated);
    EXPECT_TRUE(socket.error().message.contains("who are you\\x0a")) << socket.error().message;
    // A plain request to a WebSocket is told so.
    EXPECT_EQ((co_await client(endpoint)->send({}, soon())).value().status, 426);
  });
}

TEST_F(WebSocketTest, ACancelledReadLosesNothing) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await client(endpoint)->connectWebSocket(to("/echo"), soon());
    const auto none = co_await withDeadline(Deadline::after(Millis(5)), "read", (*socket)->read());
    EXPECT_EQ(none.error().code, ErrorCode::kDeadlineExceeded);
    (void)co_await (*socket)->write("still here");
    EXPECT_EQ((co_await (*socket)->read()).value(), "still here");
  });
}

Task<void> writeMany(SocketPtr socket, char mark) {
  for (int i = 0; i < 50; ++i) (void)co_await socket->write(std::string(5000, mark));
}

TEST_F(WebSocketTest, WritesOfSeveralTasksDoNotMix) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await client(endpoint)->connectWebSocket(to("/echo"), soon());
    TaskGroup group(loop_.get_executor());
    for (const char mark : {'a', 'b', 'c'}) group.spawn("writer", writeMany(*socket, mark));
    for (int i = 0; i < 150; ++i) {
      const auto message = co_await (*socket)->read();
      EXPECT_TRUE(message.has_value());
      if (!message) break;
      EXPECT_EQ(*message, std::string(5000, message->at(0)));
    }
    co_await group.cancelAndJoin();
  });
}

TEST_F(WebSocketTest, PingsKeepAQuietConnectionAndSilenceDropsIt) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto request = to("/quick");
    request.keepAlive = {Millis(40), Millis(80)};
    auto socket = co_await client(endpoint)->connectWebSocket(request, soon());
    const auto quiet = co_await withDeadline(Deadline::after(Millis(400)), "read", (*socket)->read());
    EXPECT_EQ(quiet.error().code, ErrorCode::kDeadlineExceeded)
        << "pings should have kept it alive: " << quiet.error().describe();

    // A peer that accepts and then is silent for ever: a raw socket that completes the handshake and answers nothing.
    auto raw = co_await connectTcp(endpoint.host, endpoint.port, soon());
    const auto stream = makeSocketStream(std::move(*raw), {});
    (void)co_await stream->write(
        "GET /quick HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    const auto begin = std::chrono::steady_clock::now();
    std::array<char, 4096> part;
    std::string all;
    while (true) {
      const auto got = co_await stream->readSome(part);
      if (!got || *got == 0) break;
      all.append(part.data(), *got);
    }
    EXPECT_TRUE(all.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) << all;
    EXPECT_TRUE(all.ends_with(std::string("\x89\0", 2))) << "a ping comes before the drop";
    EXPECT_LT(std::chrono::steady_clock::now() - begin, Millis(5000));
  });
}

struct BadFrames {
  std::string bytes;
  int expected;  // close code that the server sends
  const char* why;
};

TEST_F(WebSocketTest, RefusesBrokenFrames) {
  using namespace std::string_literals;
  const auto mask = "\0\0\0\0"s;
  const std::vector<BadFrames> table = {
      {"\x82\x01x"s, 1002, "not masked"},
      {"\xC2\x80"s + mask, 1002, "reserved bit"},
      {"\x83\x80"s + mask, 1002, "reserved opcode"},
      {"\x80\x80"s + mask, 1002, "continuation of nothing"},
      {"\x09\x80"s + mask, 1002, "fragmented ping"},
      {"\x89\xFE\x00\x80"s + mask, 1002, "ping over 125 bytes"},
      {"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s + mask, 1009, "length near 2^63"},
      {"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s + mask, 1009, "length over 2^63"},
      {"\x81\x81"s + mask + "t", 1003, "text"},
      {"\x88\x81"s + mask + "x", 1002, "close with half a code"},
      {"\x88\x82"s + mask + "\x03\xE8"s, 1000, "a good close"},
  };
  withServer(webSockets, [table](HttpEndpoint endpoint) -> Task<void> {
    for (const auto& row : table) {
      const auto answer = co_await rawExchange(
          endpoint,
          "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
              row.bytes);
      const auto frame = answer.substr(std::min(answer.find("\r\n\r\n") + 4, answer.size()));
      EXPECT_GE(frame.size(), 4U) << row.why;
      if (frame.size() < 4) continue;
      EXPECT_EQ(frame[0], '\x88') << row.why;
      EXPECT_EQ(static_cast<unsigned char>(frame[2]) * 256 + static_cast<unsigned char>(frame[3]), row.expected)
          << row.why;
    }
  });
}

TEST_F(WebSocketTest, ServerStopEndsOpenSocketsAndTheClientNotices) {
  withServer(webSockets, [this](HttpEndpoint endpoint) -> Task<void> {
    auto a = co_await client(endpoint)->connectWebSocket(to("/echo"), soon());
    auto b = co_await client(endpoint)->connectWebSocket(to("/mute"), soon());
    co_await server_->stop();
    EXPECT_EQ((co_await (*a)->read()).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ((co_await (*b)->read()).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ((*a)->closed().code, 1006);
  });
}

Task<void> readSlowly(SocketPtr socket, std::size_t* got) {
  co_await sleepFor(Millis(300));  // far past dropAfter: a slow consumer is not a dead peer
  while (true) {
    const auto message = co_await socket->read();
    if (!message) co_return;
    *got += message->size();
  }
}

TEST_F(WebSocketTest, ASlowReaderSlowsTheWriterAndIsNotDropped) {
  std::size_t got = 0;
  const auto handler = [&got](HttpRequest&, BodyReader&) -> Task<HttpResponse> {
    HttpResponse response;
    response.upgrade =
        HttpResponse::Upgrade{.subprotocol = "test.v1", .keepAlive = {Millis(40), Millis(80)}, .run = {}};
    response.upgrade->run = [&got](SocketPtr socket) { return readSlowly(std::move(socket), &got); };
    co_return response;
  };
  withServer(handler, [this, &got](HttpEndpoint endpoint) -> Task<void> {
    auto request = to("/");
    request.keepAlive = {Millis(40), Millis(80)};
    auto socket = co_await client(endpoint)->connectWebSocket(request, soon());
    const auto message = patternBytes(200 * 1024);
    for (int i = 0; i < 100; ++i) {
      const auto written = co_await (*socket)->write(message);
      EXPECT_TRUE(written.has_value()) << i;
      if (!written) break;
    }
    co_await (*socket)->close(1000, "");
    EXPECT_EQ(got, 100 * message.size());
  });
}

}  // namespace
}  // namespace gs

#include <boost/asio/local/stream_protocol.hpp>

#include <filesystem>

#include "async/event.h"
#include "async/with_deadline.h"
#include "net/beast/http_parser.h"
#include "net/http_target.h"
#include "net/net_fixture.h"

namespace gs {
namespace {

using HttpTest = NetFixture;

Task<HttpResponse> echo(HttpRequest& request, BodyReader& body) {
  HttpResponse response;
  auto all = co_await readAll(body, 1024 * 1024);
  response.status = all ? 200 : 413;
  response.headers.set("X-Method", request.method);
  response.headers.set("X-Path", request.path);
  response.headers.set("X-Peer", request.peer.address);
  response.body = all.value_or("too large");
  co_return response;
}

HttpClientRequest post(std::string target, std::string body) {
  HttpClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.body = std::move(body);
  return request;
}

TEST_F(HttpTest, CarriesARequestAndItsAnswer) {
  withServer(echo, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto c = client(endpoint);
    const auto answer = co_await c->send(post("/a%20b?x=1", "hello"), soon());
    EXPECT_TRUE(answer.has_value()) << answer.error().describe();
    if (!answer) co_return;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(answer->headers.find("x-path"), "/a b");
    EXPECT_EQ(answer->headers.find("x-method"), "POST");
  });
}

TEST_F(HttpTest, ReusesAConnectionAndReplacesOneThatDied) {
  withServer(echo, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto c = client(endpoint);
    std::vector<std::string> peers;
    for (int i = 0; i < 3; ++i) {
      const auto answer = co_await c->send(post("/", "x"), soon());
      EXPECT_TRUE(answer.has_value());
      if (answer) peers.emplace_back(*answer->headers.find("X-Peer"));
    }
    EXPECT_EQ(peers.at(0), peers.at(1));
    EXPECT_EQ(peers.at(1), peers.at(2));
    // The server goes away with the idle connection and comes back on the same port.
    const auto port = server_->port();
    co_await server_->stop();
    auto again = startHttpServer(loop_.get_executor(), {.address = "127.0.0.1", .port = port, .tls = {}}, echo);
    EXPECT_TRUE(again.has_value());
    server_ = std::move(*again);
    const auto answer = co_await c->send(post("/", "y"), soon());
    EXPECT_TRUE(answer.has_value()) << answer.error().describe();
    EXPECT_NE(answer->headers.find("X-Peer"), peers.at(0));
  });
}

Task<HttpResponse> streams(HttpRequest& request, BodyReader& body) {
  HttpResponse response;
  if (request.method == "PUT") {
    response.body = std::to_string(co_await countPattern(body));
  } else {
    const auto size = request.path == "/known" ? PatternSource::Size::kKnown : PatternSource::Size::kUnknown;
    response.stream = std::make_unique<PatternSource>(64U << 20U, size);
  }
  co_return response;
}

TEST_F(HttpTest, Streams64MiBBothWaysWithAndWithoutAKnownSize) {
  withServer(streams, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto c = client(endpoint);
    for (const auto size : {PatternSource::Size::kKnown, PatternSource::Size::kUnknown}) {
      HttpClientRequest up;
      up.method = "PUT";
      up.stream = std::make_unique<PatternSource>(64U << 20U, size);
      const auto answer = co_await c->send(std::move(up), soon());
      EXPECT_EQ(answer.value().body, std::to_string(64U << 20U));

      HttpClientRequest down;
      down.target = size == PatternSource::Size::kKnown ? "/known" : "/unknown";
      auto response = co_await c->open(std::move(down), soon());
      EXPECT_EQ(response.value()->contentLength().has_value(), size == PatternSource::Size::kKnown);
      EXPECT_EQ(co_await countPattern(**response), 64 << 20);
    }
  });
}

TEST_F(HttpTest, GivesTheReasonWhenABodyIsOverTheLimit) {
  withServer(streams, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto answer = co_await client(endpoint)->send({}, soon(), 1000);
    EXPECT_EQ(answer.error().code, ErrorCode::kResourceExhausted);
  });
}

TEST_F(HttpTest, TellsAHandlerThatItsClientHasLeft) {
  bool here = false;
  bool noticed = false;
  Event ended(loop_.get_executor());
  const auto waits = [&](HttpRequest& request, BodyReader&) -> Task<HttpResponse> {
    here = !request.clientLeft();
    ended.notifyAll();
    const auto deadline = soon();
    while (!request.clientLeft() && !deadline.expired()) co_await ended.waitFor(Millis(1));
    noticed = !deadline.expired();
    ended.notifyAll();
    co_return HttpResponse();
  };
  withServer(waits, [&](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await connectTcp(endpoint.host, endpoint.port, soon());
    auto stream = makeSocketStream(std::move(*socket), {});
    (void)co_await stream->write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while (!here) co_await ended.waitFor(Millis(20));
    stream.reset();
    while (!noticed) co_await ended.waitFor(Millis(20));
  });
  EXPECT_TRUE(noticed);
}

Task<HttpResponse> refuseUnread(HttpRequest&, BodyReader&) {
  HttpResponse response;
  response.status = 403;
  response.body = "no";
  co_return response;
}

TEST_F(HttpTest, ARefusalArrivesThoughTheBodyIsStillBeingSent) {
  withServer(refuseUnread, [this](HttpEndpoint endpoint) -> Task<void> {
    HttpClientRequest up;
    up.method = "PUT";
    up.stream = std::make_unique<PatternSource>(64U << 20U, PatternSource::Size::kKnown);
    const auto answer = co_await client(endpoint)->send(std::move(up), soon());
    EXPECT_TRUE(answer.has_value()) << answer.error().describe();
    if (answer) EXPECT_EQ(answer->status, 403);
  });
}

Task<HttpResponse> throws(HttpRequest& request, BodyReader&) {
  if (request.path == "/throw") throw std::runtime_error("deliberate");
  co_return HttpResponse{};
}

TEST_F(HttpTest, AnExceptionFromAHandlerIs500AndTheConnectionLives) {
  withServer(throws, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto c = client(endpoint);
    const auto bad = co_await c->send(post("/throw", ""), soon());
    EXPECT_EQ(bad.value().status, 500);
    EXPECT_FALSE(bad.value().body.contains("deliberate")) << "internals must not reach the client";
    EXPECT_EQ((co_await c->send(post("/", ""), soon())).value().status, 200);
  });
}

Task<HttpResponse> never(HttpRequest&, BodyReader&) {
  co_await sleepUntil(Deadline::never());
  co_return HttpResponse{};
}

TEST_F(HttpTest, TheDeadlineCoversAnAnswerThatNeverComes) {
  withServer(never, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto c = client(endpoint);
    const auto answer = co_await c->send({}, Deadline::after(Millis(50)));
    EXPECT_EQ(answer.error().code, ErrorCode::kDeadlineExceeded) << answer.error().describe();
    // Cancelled from outside, it ends as well; the server's stop() then has live connections to cancel.
    const auto cancelled = co_await withDeadline(Deadline::after(Millis(50)), "outer", c->send({}, soon()));
    EXPECT_EQ(cancelled.error().message, "outer took too long");
  });
}

TEST_F(HttpTest, NoServerIsUnavailableWithTheAddress) {
  withServer(echo, [this](HttpEndpoint endpoint) -> Task<void> {
    co_await server_->stop();
    const auto answer = co_await client(endpoint)->send({}, soon());
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().message.contains("127.0.0.1")) << answer.error().message;
  });
}

struct Garbage {
  std::string bytes;
  std::string expected;  // start of the answer; empty: none
  const char* why;
};

TEST_F(HttpTest, RefusesGarbageWithAReason) {
  const std::string host = "Host: x\r\n";
  const std::vector<Garbage> table = {
      {std::string("\x16\x03\x01\x02\x00\x01\x00", 7), "HTTP/1.1 400", "a TLS hello on a plain port"},
      {std::string(1000, '\0'), "HTTP/1.1 400", "zeroes"},
      {"GET / HTTP/1.1\r\n", "", "closed inside the head: nobody to answer"},
      {"GET / HTTP/3.0\r\n" + host + "\r\n", "HTTP/1.1 400", "unknown version"},
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400", "no Host"},
      {"GET / HTTP/1.1\r\n" + host + host + "\r\n", "HTTP/1.1 400", "two Hosts"},
      {"GET nowhere HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "target without /"},
      {"GET /%00 HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "NUL in the path"},
      {"GET /%2 HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "broken percent sequence"},
      {"GET /%zz HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "no hex"},
      {"GET /a/%2e%2E/b HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "coded dot segment"},
      {"GET /a/../b HTTP/1.1\r\n" + host + "\r\n", "HTTP/1.1 400", "dot segment"},
      {"GET / HTTP/1.1\r\n" + host + "A B: c\r\n\r\n", "HTTP/1.1 400", "space in a header name"},
      {"GET / HTTP/1.1\r\n" + host + "X: " + std::string(40'000, 'x') + "\r\n\r\n", "HTTP/1.1 431", "huge header"},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "HTTP/1.1 400", "negative length"},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 400",
       "two lengths"},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "HTTP/1.1 400", "length and chunked: smuggling"},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 400", "unknown coding"},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 413", "bad chunk header"},
      {"GET / HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 400",
       "WebSocket handshake without a key"},
      {"GET / HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "HTTP/1.1 200", "and this one is good"},
  };
  withServer(echo, [table](HttpEndpoint endpoint) -> Task<void> {
    for (const auto& row : table) {
      const auto answer = co_await rawExchange(endpoint, row.bytes);
      EXPECT_TRUE(answer.starts_with(row.expected)) << row.why << ": " << answer;
      EXPECT_EQ(answer.empty(), row.expected.empty()) << row.why << ": " << answer;
    }
  });
}

TEST_F(HttpTest, AnswersPipelinedRequestsAnd100Continue) {
  withServer(echo, [](HttpEndpoint endpoint) -> Task<void> {
    const auto answer = co_await rawExchange(
        endpoint,
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nonePOST /2 HTTP/1.1\r\nHost: x\r\nExpect: "
        "100-continue\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;ext=1\r\ntwo\r\n0\r\nTrailer: x\r\n\r\n");
    EXPECT_TRUE(answer.contains("\r\n\r\none")) << answer;
    EXPECT_TRUE(answer.contains("HTTP/1.1 100 Continue\r\n\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\ntwo")) << answer;
  });
}

Task<HttpResponse> ignoreBody(HttpRequest& request, BodyReader&) {
  HttpResponse response;
  response.body = "seen " + request.path;
  co_return response;
}

Task<std::string> readUntil(ByteStream& stream, std::string end) {
  std::string all;
  std::array<char, 4096> part;
  while (!all.ends_with(end)) {
    const auto got = co_await stream.readSome(part);
    if (!got || *got == 0) break;
    all.append(part.data(), *got);
  }
  co_return all;
}

TEST_F(HttpTest, ABodyThatComesLateDoesNotTakeTheNextRequestAlong) {
  withServer(ignoreBody, [](HttpEndpoint endpoint) -> Task<void> {
    auto socket = co_await connectTcp(endpoint.host, endpoint.port, soon());
    const auto stream = makeSocketStream(std::move(socket.value()), {});
    (void)co_await stream->write("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n");
    EXPECT_TRUE((co_await readUntil(*stream, "seen /1")).ends_with("seen /1"));
    (void)co_await stream->write("12345678901234567890GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE((co_await readUntil(*stream, "seen /2")).ends_with("seen /2"));
  });
}

TEST_F(HttpTest, AnswersBusyAboveTheConnectionLimit) {
  withServer(never,
             [](HttpEndpoint endpoint) -> Task<void> {
               auto first = co_await connectTcp(endpoint.host, endpoint.port, soon());
               co_await sleepFor(Millis(1));
               const auto answer = co_await rawExchange(endpoint, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
               EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
               EXPECT_TRUE(answer.contains("Retry-After")) << answer;
             },
             {.address = "127.0.0.1", .port = 0, .tls = {}, .maxConnections = 1, .times = {}});
}

TEST_F(HttpTest, DropsWhoKeepsItWaiting) {
  const std::vector<std::pair<std::string, const char*>> table = {
      {"", "says nothing"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "never ends its head"},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "never ends its body"},
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "never asks again"},
  };
  withServer(echo,
             [table](HttpEndpoint endpoint) -> Task<void> {
               for (const auto& [bytes, why] : table) {
                 auto socket = co_await connectTcp(endpoint.host, endpoint.port, soon());
                 const auto stream = makeSocketStream(std::move(*socket), {});
                 (void)co_await stream->write(bytes);
                 const auto begin = std::chrono::steady_clock::now();
                 std::array<char, 4096> part;
                 while ((co_await stream->readSome(part)).value_or(0) > 0) {
                 }
                 EXPECT_LT(std::chrono::steady_clock::now() - begin, Millis(5000)) << why;
               }
             },
             {.address = "127.0.0.1",
              .port = 0,
              .tls = {},
              .maxConnections = 9,
              .times = {Millis(40), Millis(40), Millis(40)}});
}

TEST_F(HttpTest, ATakenPortIsUnavailableWithAFix) {
  withServer(echo, [this](HttpEndpoint endpoint) -> Task<void> {
    const auto second =
        startHttpServer(loop_.get_executor(), {.address = "127.0.0.1", .port = endpoint.port, .tls = {}}, echo);
    EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
    EXPECT_FALSE(second.error().fix.empty());
    co_return;
  });
}

// Serves one canned answer to each connection on a unix socket.
Task<void> cannedServer(UnixListener* listener, std::string answer) {
  while (true) {
    auto stream = co_await listener->accept();
    if (!stream) co_return;
    std::array<char, 4096> request;
    (void)co_await (*stream)->readSome(request);
    (void)co_await (*stream)->write(answer);
  }
}

class UnixHttpTest : public NetFixture {
 protected:
  UnixHttpTest() : path_(testing::TempDir() + "net-" + std::to_string(::getpid()) + ".sock") {}
  ~UnixHttpTest() override { std::filesystem::remove(path_); }

  Result<HttpClientResponse> ask(const std::string& canned) {
    auto listener = listenUnix(loop_.get_executor(), path_);
    if (!listener) return std::unexpected(listener.error());
    TaskGroup group(loop_.get_executor());
    return runTask(loop_, askCanned(&group, listener->get(), canned));
  }
  Task<Result<HttpClientResponse>> askCanned(TaskGroup* group, UnixListener* listener, std::string canned) {
    group->spawn("canned", cannedServer(listener, canned));
    HttpEndpoint endpoint;
    endpoint.unixPath = path_;
    const auto c = client(endpoint);
    auto answer = co_await c->send({}, soon());
    co_await group->cancelAndJoin();
    co_return answer;
  }
  std::string path_;
};

TEST_F(UnixHttpTest, SpeaksOverAUnixSocketThatOnlyItsOwnerMayUse) {
  const auto answer = ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_EQ(answer.value().body, "ok");
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(UnixHttpTest, UnderstandsABodyThatEndsWithTheConnection) {
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\n\r\nuntil the end").value().body, "until the end");
}

TEST_F(UnixHttpTest, BrokenAnswersAreUnavailable) {
  for (const std::string canned :
       {"", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    const auto answer = ask(canned);
    ASSERT_FALSE(answer.has_value()) << canned;
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable) << canned << ": " << answer.error().describe();
  }
}

TEST_F(UnixHttpTest, ReplacesAStaleSocketButNoOtherFile) {
  EXPECT_TRUE(listenUnix(loop_.get_executor(), path_).has_value());
  EXPECT_TRUE(listenUnix(loop_.get_executor(), path_).has_value());
  EXPECT_EQ(listenUnix(loop_.get_executor(), testing::TempDir()).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(listenUnix(loop_.get_executor(), std::string(200, 'x')).error().code, ErrorCode::kInvalidArgument);
}

// Found by http_fuzz: Beast asserted, that is, ended the process.
TEST(HttpParser, AFirstChunkThatIsTheLastAndIsCutDoesNotEndTheProcess) {
  const auto parser = makeHttpParser(HttpParser::Side::kRequest);
  std::string buffered = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  ASSERT_TRUE(parser->parseHead(buffered).value().has_value());
  for (const char c : std::string("0\r\n\r\n")) {
    EXPECT_FALSE(parser->chunkedDone());
    buffered += c;
    EXPECT_EQ(parser->decodeChunked(buffered).value(), "");
  }
  EXPECT_TRUE(parser->chunkedDone());
}

TEST(HttpEndpoint, ParsesWhatPeopleType) {
  EXPECT_EQ(HttpEndpoint::parse("http://h:81/").value().port, 81);
  EXPECT_EQ(HttpEndpoint::parse("http://h").value().port, 80);
  EXPECT_EQ(HttpEndpoint::parse("https://h").value().port, 443);
  EXPECT_TRUE(HttpEndpoint::parse("https://h").value().secure);
  EXPECT_EQ(HttpEndpoint::parse("http://[::1]:9").value().host, "::1");
  EXPECT_EQ(HttpEndpoint::parse("unix:///run/x.sock").value().unixPath, "/run/x.sock");
  for (const auto* bad : {"", "h:80", "ftp://h", "http://", "http://h:0", "http://h:99999", "http://h:x", "http://h/p",
                          "http://u@h", "unix://rel", "http://[::1", "http://[::1]x"}) {
    EXPECT_EQ(HttpEndpoint::parse(bad).error().code, ErrorCode::kInvalidArgument) << bad;
  }
}

TEST(HttpTarget, DecodesPathAndQuery) {
  const auto target = parseHttpTarget("/a%2Fb/%C3%A9?x=1+2&y&&z=%26%3d").value();
  EXPECT_EQ(target.path, "/a/b/\xC3\xA9");
  const std::vector<std::pair<std::string, std::string>> query = {{"x", "1 2"}, {"y", ""}, {"z", "&="}};
  EXPECT_EQ(target.query, query);
  EXPECT_EQ(parseHttpTarget("http://h/p?q").value().path, "/p");
  EXPECT_EQ(parseHttpTarget("/..a/b..").value().path, "/..a/b..");
  EXPECT_EQ(percentEncode("a b/é"), "a%20b%2F%C3%A9");
}

}  // namespace
}  // namespace gs

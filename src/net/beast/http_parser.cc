#include "net/beast/http_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>

#include "base/encoding.h"

namespace gs {
namespace {

namespace http = boost::beast::http;

constexpr std::uint32_t kMaxHeadBytes = 32 * 1024;
constexpr std::size_t kMaxFields = 200;
constexpr std::size_t kMaxChunkHeadBytes = 16 * 1024;

Error parseError(const boost::system::error_code& error) {
  if (error == http::error::header_limit) {
    return makeError(ErrorCode::kResourceExhausted, "the header block is larger than 32 KiB")
        .withReason("header_too_large");
  }
  return makeError(ErrorCode::kInvalidArgument, "this is not HTTP/1.1: " + error.message());
}

bool mayBegin(HttpParser::Side side, char first) {
  if (side == HttpParser::Side::kResponse) return first == 'H';
  return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
}

template <bool kIsRequest>
class BeastParser final : public HttpParser {
 public:
  explicit BeastParser(Body body) {
    parser_.header_limit(kMaxHeadBytes);
    parser_.body_limit(boost::none);
    parser_.skip(body == Body::kNever);
  }

  Result<std::optional<HttpHead>> parseHead(std::string& buffered) override {
    if (buffered.empty()) return std::nullopt;
    constexpr auto kSide = kIsRequest ? Side::kRequest : Side::kResponse;
    if (!mayBegin(kSide, buffered.front())) {
      return fail(ErrorCode::kInvalidArgument, "this is not HTTP/1.1: " + escapeForLog(buffered, 40));
    }
    boost::system::error_code error;
    const auto used = parser_.put(asio::buffer(buffered), error);
    buffered.erase(0, used);
    if (error == http::error::need_more) return std::nullopt;
    if (error) return fail(parseError(error));
    return toHead();
  }

  Result<std::string> decodeChunked(std::string& buffered) override {
    // The shortest chunked body has five bytes, and Beast 1.81 asserts that it sees as many ("0", CRLF and one byte
    // more would end the process). Behind a first chunk there is a CRLF more, so it only matters here.
    if (!begun_ && buffered.size() < 5) return std::string();
    std::string out(buffered.size(), '\0');  // decoded bytes are never more than coded ones
    auto& body = parser_.get().body();
    body.data = out.data();
    body.size = out.size();
    body.more = true;
    parser_.eager(true);
    boost::system::error_code error;
    std::size_t used = 0;
    while (used < buffered.size() && !parser_.is_done()) {
      const auto step = parser_.put(asio::buffer(buffered.data() + used, buffered.size() - used), error);
      used += step;
      if (error == http::error::need_more || (!error && step == 0)) break;
      if (error && error != http::error::need_buffer) return fail(parseError(error));
    }
    out.resize(out.size() - body.size);
    body.data = nullptr;
    body.size = 0;
    begun_ = begun_ || used > 0;
    buffered.erase(0, used);
    if (out.empty() && !parser_.is_done() && buffered.size() > kMaxChunkHeadBytes) {
      return fail(ErrorCode::kInvalidArgument, "a chunk header is larger than 16 KiB");
    }
    return out;
  }

  [[nodiscard]] bool chunkedDone() const override { return parser_.is_done(); }

 private:
  Result<std::optional<HttpHead>> toHead() {
    HttpHead head;
    const auto& message = parser_.get();
    for (const auto& field : message) {
      const auto name = field.name_string();
      const auto value = field.value();
      head.headers.add(std::string_view(name.data(), name.size()), std::string(value.data(), value.size()));
    }
    if (head.headers.all().size() > kMaxFields) {
      return fail(
          makeError(ErrorCode::kResourceExhausted, "more than 200 header fields").withReason("header_too_large"));
    }
    head.http11 = message.version() == 11;
    head.keepAlive = parser_.keep_alive();
    head.upgrade = http::token_list(message[http::field::connection]).exists("upgrade");
    if constexpr (kIsRequest) {
      const auto method = message.method_string();
      const auto target = message.target();
      head.method.assign(method.data(), method.size());
      head.target.assign(target.data(), target.size());
      if (const auto hosts = message.count(http::field::host); hosts > 1 || (head.http11 && hosts == 0)) {
        return fail(ErrorCode::kInvalidArgument, "an HTTP/1.1 request needs exactly one Host header");
      }
    } else {
      head.status = static_cast<int>(message.result_int());
    }
    // Beast takes a coding that it does not know as "until close" or "no body"; both would let two parties disagree
    // about where a request ends (request smuggling).
    if (message.count(http::field::transfer_encoding) > 0 &&
        (message.count(http::field::transfer_encoding) > 1 || !head.http11 ||
         !boost::beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
      return fail(ErrorCode::kInvalidArgument, "the only transfer coding that is understood is chunked");
    }
    if (parser_.is_done()) {
      head.framing = HttpHead::Framing::kNone;
    } else if (parser_.chunked()) {
      head.framing = HttpHead::Framing::kChunked;
    } else if (const auto length = parser_.content_length()) {
      head.framing = HttpHead::Framing::kLength;
      head.length = *length;
    } else if (!kIsRequest) {
      head.framing = HttpHead::Framing::kUntilClose;
    }
    return head;
  }

  http::parser<kIsRequest, http::buffer_body> parser_;
  bool begun_ = false;  // some of the chunked body has been decoded
};

}  // namespace

std::unique_ptr<HttpParser> makeHttpParser(HttpParser::Side side, HttpParser::Body body) {
  if (side == HttpParser::Side::kRequest) return std::make_unique<BeastParser<true>>(body);
  return std::make_unique<BeastParser<false>>(body);
}

}  // namespace gs

#include "net/http_wire.h"

namespace gs {
namespace {

constexpr std::size_t kHeadReadBytes = 4 * 1024;
constexpr std::size_t kFirstPieceBytes = 16 * 1024;
constexpr std::size_t kMaxPieceBytes = 256 * 1024;

// Bytes about to be overwritten by a read need no zeroes first; they are a measurable share of a large transfer.
std::string uninitialized(std::size_t bytes) {
  std::string out;
  // The callback's own size is not used: libstdc++ 12 passes the capacity, and a read of that many bytes would take the
  // beginning of the next request along with this body.
  out.resize_and_overwrite(bytes, [bytes](char*, std::size_t) { return bytes; });
  return out;
}

bool isTokenChar(unsigned char c) {
  return std::isalnum(c) != 0 || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
}

}  // namespace

Task<Result<std::size_t>> HttpReader::fill(std::size_t bytes) {
  const auto had = buffered_.size();
  buffered_.resize(had + bytes);
  const auto got = co_await connection_.readSome(std::span(buffered_.data() + had, bytes));
  buffered_.resize(had + got.value_or(0));
  co_return got;
}

Task<Result<bool>> HttpReader::waitForMessage() {
  if (!buffered_.empty()) co_return true;
  GS_CO_TRY(const auto got, co_await fill(kHeadReadBytes));
  co_return got > 0;
}

Task<Result<HttpHead>> HttpReader::readHead(HttpParser::Body body) {
  parser_ = makeHttpParser(side_, body);
  while (true) {
    GS_CO_TRY(auto head, parser_->parseHead(buffered_));
    if (head) {
      framing_ = head->framing;
      remaining_ = head->length;
      if (framing_ == HttpHead::Framing::kLength && remaining_ == 0) framing_ = HttpHead::Framing::kNone;
      if (framing_ != HttpHead::Framing::kChunked) parser_.reset();
      pieceBytes_ = kFirstPieceBytes;
      if (buffered_.empty()) std::string().swap(buffered_);
      co_return std::move(*head);
    }
    GS_CO_TRY(const auto got, co_await fill(kHeadReadBytes));
    if (got == 0) co_return fail(ErrorCode::kUnavailable, "the peer closed the connection inside a message head");
  }
}

Task<Result<std::string>> HttpReader::nextPiece() {
  const auto cut = [] {
    return fail(ErrorCode::kUnavailable, "the peer closed the connection before the end of the body");
  };
  if (framing_ == HttpHead::Framing::kNone) co_return std::string();

  if (framing_ == HttpHead::Framing::kChunked) {
    while (true) {
      GS_CO_TRY(auto piece, parser_->decodeChunked(buffered_));
      if (parser_->chunkedDone()) framing_ = HttpHead::Framing::kNone;
      if (!piece.empty() || bodyDone()) co_return piece;
      GS_CO_TRY(const auto got, co_await fill(pieceBytes_));
      if (got == 0) co_return cut();
      if (got == pieceBytes_) pieceBytes_ = std::min(pieceBytes_ * 2, kMaxPieceBytes / 2);
    }
  }

  std::string piece;
  const bool bounded = framing_ == HttpHead::Framing::kLength;
  if (!buffered_.empty()) {
    piece = takeBuffered();
    if (bounded && piece.size() > remaining_) {
      buffered_ = piece.substr(static_cast<std::size_t>(remaining_));
      piece.resize(static_cast<std::size_t>(remaining_));
    }
  } else {
    piece = uninitialized(bounded ? static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, pieceBytes_))
                                  : pieceBytes_);
    GS_CO_TRY(const auto got, co_await connection_.readSome(std::span(piece.data(), piece.size())));
    if (got == 0 && bounded) co_return cut();
    // The piece grows while the peer fills it, so that a trickle does not cost 256 KiB each time.
    if (got == pieceBytes_) pieceBytes_ = std::min(pieceBytes_ * 2, kMaxPieceBytes);
    piece.resize(got);
  }
  if (bounded) remaining_ -= piece.size();
  if (bounded ? remaining_ == 0 : piece.empty()) framing_ = HttpHead::Framing::kNone;
  co_return piece;
}

std::optional<std::uint64_t> HttpReader::remaining() const {
  if (framing_ == HttpHead::Framing::kNone) return 0;
  if (framing_ == HttpHead::Framing::kLength) return remaining_;
  return std::nullopt;
}

Status appendHeaders(std::string& head, const HttpHeaders& headers) {
  for (const auto& [name, value] : headers.all()) {
    if (name.empty() || !std::ranges::all_of(name, [](unsigned char c) { return isTokenChar(c); })) {
      return fail(ErrorCode::kInvalidArgument, "a header name has a character that is not allowed");
    }
    if (std::ranges::any_of(value, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; })) {
      return fail(ErrorCode::kInvalidArgument, "the header " + name + " has a control character");
    }
    head.append(name).append(": ").append(value).append("\r\n");
  }
  return {};
}

Task<Status> writeMessage(Connection& connection, Watchdog& watchdog, Millis stall, std::string head,
                          std::string_view body, BodySource* stream) {
  const auto arm = [&] {
    if (stall != Millis::max()) watchdog.arm(Deadline::after(stall));
  };
  if (stream == nullptr) {
    // In slices, because the bound is on each step and not on the whole of a large body.
    do {
      const auto slice = body.substr(0, kMaxPieceBytes);
      body.remove_prefix(slice.size());
      arm();
      const auto lead = std::exchange(head, {});
      GS_CO_CHECK(co_await connection.writePieces({lead, slice, {}, {}}));
    } while (!body.empty());
    co_return Status();
  }

  const auto size = stream->sizeBytes();
  std::uint64_t sent = 0;
  while (true) {
    // While the source is waited for, the peer is not to blame.
    if (stall != Millis::max()) watchdog.disarm();
    GS_CO_TRY(const auto piece, co_await stream->next());
    arm();
    sent += piece.size();
    if (size && (sent > *size || (piece.empty() && sent != *size))) {
      co_return fail(ErrorCode::kInternal, fmt::format("a body of {} bytes was announced, {} came", *size, sent));
    }
    const std::string chunkHead = size || piece.empty() ? "" : fmt::format("{:x}\r\n", piece.size());
    const std::string_view chunkTail = size ? "" : piece.empty() ? "0\r\n\r\n" : "\r\n";
    const auto lead = std::exchange(head, {}) + chunkHead;
    GS_CO_CHECK(co_await connection.writePieces({lead, piece, chunkTail, {}}));
    if (piece.empty()) co_return Status();
  }
}

}  // namespace gs

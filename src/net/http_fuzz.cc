// Requests, responses, chunked bodies and targets from hostile bytes: no crash, no unbounded memory, and the same
// verdict however the bytes are cut.
#include <cstdint>
#include <cstdlib>

#include "net/beast/http_parser.h"
#include "net/http_target.h"

namespace {

struct Outcome {
  bool failed = false;
  bool complete = false;
  std::string body;
  bool operator==(const Outcome&) const = default;
};

Outcome parseInSteps(gs::HttpParser::Side side, std::string_view bytes, std::size_t step) {
  const auto parser = gs::makeHttpParser(side);
  Outcome out;
  std::string buffered;
  std::optional<gs::HttpHead> head;
  while (!bytes.empty()) {
    const auto part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    buffered += part;
    if (!head) {
      auto parsed = parser->parseHead(buffered);
      if (!parsed) return {.failed = true, .complete = false, .body = {}};
      if (!*parsed) continue;
      head = std::move(**parsed);
      if (!head->target.empty()) (void)gs::parseHttpTarget(head->target);
    }
    if (head->framing != gs::HttpHead::Framing::kChunked) return {.failed = false, .complete = true, .body = {}};
    while (!parser->chunkedDone()) {
      auto piece = parser->decodeChunked(buffered);
      if (!piece) return {.failed = true, .complete = true, .body = {}};
      if (piece->empty()) break;
      out.body += *piece;
    }
    out.complete = parser->chunkedDone();
    if (out.complete) return out;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto side = (data[0] & 1) != 0 ? gs::HttpParser::Side::kRequest : gs::HttpParser::Side::kResponse;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  (void)gs::parseHttpTarget(bytes);
  const auto whole = parseInSteps(side, bytes, bytes.size() + 1);
  const auto cut = parseInSteps(side, bytes, 1 + (data[0] >> 1));
  // Limits may be met earlier or later depending on the cut; what was understood must be the same.
  if (!whole.failed && !cut.failed && !(whole == cut)) std::abort();
  return 0;
}

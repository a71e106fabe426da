#include "server/store/cursor.h"

#include <charconv>

#include "base/digest.h"
#include "base/encoding.h"
#include "server/core/fault.h"

namespace gs {
namespace {

constexpr std::size_t kChecksumBytes = 8;

std::string checksum(std::string_view scope, std::string_view payload) {
  return Digest::of(fmt::format("cursor 1\n{}\n{}", scope, payload)).raw().substr(0, kChecksumBytes);
}

std::unexpected<Error> invalid() {
  Error error = makeError(ErrorCode::kInvalidArgument, "the cursor is not of this list");
  error.fix = "use nextCursor of the page before, with the same filters, or none for the first page";
  error.details.push_back(faultLine("/query/cursor", "not a cursor of this list"));
  return fail(std::move(error));
}

}  // namespace

std::string encodeCursor(std::string_view scope, const PageKey& key) {
  const std::string payload = fmt::format("{}:{}", key.time, key.id);
  return toBase64Url(checksum(scope, payload) + payload);
}

Result<PageKey> decodeCursor(std::string_view scope, std::string_view cursor) {
  const auto bytes = fromBase64Url(cursor);
  if (!bytes || bytes->size() <= kChecksumBytes) return invalid();
  const std::string_view payload = std::string_view(*bytes).substr(kChecksumBytes);
  if (bytes->substr(0, kChecksumBytes) != checksum(scope, payload)) return invalid();
  const auto colon = payload.find(':');
  if (colon == std::string_view::npos) return invalid();
  PageKey key;
  const auto [end, code] = std::from_chars(payload.data(), payload.data() + colon, key.time);
  if (code != std::errc{} || end != payload.data() + colon) return invalid();
  key.id = std::string(payload.substr(colon + 1));
  return key;
}

}  // namespace gs

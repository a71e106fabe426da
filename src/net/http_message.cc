#include "net/http_message.h"

#include <cctype>

namespace gs {
namespace {

bool equalNames(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

void HttpHeaders::set(std::string_view name, std::string value) {
  std::erase_if(items_, [&](const auto& item) { return equalNames(item.first, name); });
  add(name, std::move(value));
}

void HttpHeaders::add(std::string_view name, std::string value) {
  items_.emplace_back(name, std::move(value));
}

std::optional<std::string_view> HttpHeaders::find(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (equalNames(key, name)) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> HttpRequest::findQuery(std::string_view key) const {
  for (const auto& [name, value] : query) {
    if (name == key) return value;
  }
  return std::nullopt;
}

Task<Result<std::string>> readAll(BodyReader& body, std::size_t limit) {
  std::string all;
  while (true) {
    GS_CO_TRY(const auto piece, co_await body.next());
    if (piece.empty()) co_return all;
    if (all.size() + piece.size() > limit) {
      co_return fail(ErrorCode::kResourceExhausted, fmt::format("the body is larger than {} bytes", limit));
    }
    all += piece;
  }
}

}  // namespace gs

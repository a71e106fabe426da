#include "server/api/text.h"

#include <fmt/format.h>

namespace gs {
namespace {

constexpr std::size_t kMaxInstance = 2048;

// Length of the character that starts with `lead`, and the least value that needs so many bytes; 0: no lead byte.
std::size_t lengthFrom(unsigned char lead, std::uint32_t& least) {
  if (lead < 0x80) return least = 0, 1;
  if (lead >= 0xC2 && lead < 0xE0) return least = 0x80, 2;
  if (lead >= 0xE0 && lead < 0xF0) return least = 0x800, 3;
  if (lead >= 0xF0 && lead < 0xF5) return least = 0x10000, 4;
  return 0;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool isUriCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~/:@!$&'()*+,;=%").find(c) != std::string_view::npos;
}

}  // namespace

bool isUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    std::uint32_t least = 0;
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lengthFrom(lead, least);
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t value = length == 1 ? lead : lead & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) return false;
      value = (value << 6U) | (next & 0x3FU);
    }
    if (value < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return false;
    i += length;
  }
  return true;
}

std::string cutText(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
  return std::string(text.substr(0, limit));
}

bool equalsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool listHas(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    std::string_view each = list.substr(0, list.find(','));
    list.remove_prefix(std::min(each.size() + 1, list.size()));
    while (each.starts_with(' ') || each.starts_with('\t')) each.remove_prefix(1);
    while (each.ends_with(' ') || each.ends_with('\t')) each.remove_suffix(1);
    if (each == item) return true;
  }
  return false;
}

std::string instanceOf(std::string_view target) {
  target = target.substr(0, std::min({target.find('?'), target.find('#'), kMaxInstance / 3}));
  std::string out;
  for (const char c : target) {
    if (isUriCharacter(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace gs

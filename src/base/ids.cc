#include "base/ids.h"

#include "base/encoding.h"

namespace gs {

bool isIdText(std::string_view prefix, std::string_view text) {
  if (text.size() != prefix.size() + 1 + kIdChars) return false;
  if (!text.starts_with(prefix) || text[prefix.size()] != '_') return false;
  return std::ranges::all_of(text.substr(prefix.size() + 1), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u');
  });
}

std::string makeIdText(std::string_view prefix) { return fmt::format("{}_{}", prefix, randomIdChars(kIdChars)); }

}  // namespace gs

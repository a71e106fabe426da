#include "guest/text.h"

#include <cstring>

namespace gs::guest {

std::string quoted(std::string_view text, std::size_t limit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const bool cut = text.size() > limit;
  std::string out = "\"";
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(c);
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 0xf]};
    }
  }
  out += cut ? "\"…" : "\"";
  return out;
}

std::string errnoText(int error) {
  // strerrordesc_np needs no buffer and, unlike strerror, never looks for translations.
  const char* text = ::strerrordesc_np(error);
  return text != nullptr ? text : "error " + std::to_string(error);
}

}  // namespace gs::guest

// How many terminal columns a text takes, and how foreign text is made safe to show.
//
// Widths follow Unicode's East Asian Width (wide and fullwidth: 2) and general category (marks and format: 0), in a
// short table of our own: the C library's wcwidth depends on the locale, which programs in containers often lack.
#pragma once

#include <string>
#include <string_view>

namespace gs::cli {

[[nodiscard]] std::size_t textWidth(std::string_view utf8);

// Text from the server or a sandbox, for a terminal: control characters, overrides of the writing direction and bytes
// that are not UTF-8 become \xNN or \u{NNNN}, so that nothing can move the cursor or change colours.
[[nodiscard]] std::string printable(std::string_view text);
// The same, but line feeds and tabs stay.
[[nodiscard]] std::string printableLines(std::string_view text);

// Takes one code point off the front; nothing for a byte that is not UTF-8 (one byte is then taken off).
struct Decoded {
  bool valid = false;
  char32_t codePoint = 0;
  std::size_t bytes = 1;
};
[[nodiscard]] Decoded decodeUtf8(std::string_view text);

}  // namespace gs::cli

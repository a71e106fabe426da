// The size of a terminal, in character cells.
#pragma once

#include <cstdint>

namespace gs {

struct TerminalSize {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  friend bool operator==(const TerminalSize&, const TerminalSize&) = default;
};

inline constexpr std::uint32_t kLongestTerminalSide = 10'000;

// 1 to kLongestTerminalSide each.
[[nodiscard]] inline bool isTerminalSize(TerminalSize size) {
  return size.rows >= 1 && size.rows <= kLongestTerminalSide && size.columns >= 1 && size.columns <= kLongestTerminalSide;
}

}  // namespace gs

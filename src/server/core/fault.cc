#include "server/core/fault.h"

namespace gs {
namespace {

constexpr std::string_view kSeparator = ": ";

}  // namespace

std::string faultLine(std::string_view pointer, std::string_view detail) {
  // A pointer may hold any text that a client sent as a member name; one with the separator in it is cut back to the
  // part before, so that the line still parses into two.
  const auto at = pointer.find(kSeparator);
  if (at != std::string_view::npos) pointer = pointer.substr(0, pointer.rfind('/', at));
  return fmt::format("{}{}{}", pointer, kSeparator, detail);
}

Fault parseFaultLine(std::string_view line) {
  const auto at = line.find(kSeparator);
  if (at == std::string_view::npos || (at != 0 && line.front() != '/')) return {"", std::string(line)};
  return {std::string(line.substr(0, at)), std::string(line.substr(at + kSeparator.size()))};
}

std::string pointerToken(std::string_view token) {
  std::string out;
  for (const char c : token) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace gs

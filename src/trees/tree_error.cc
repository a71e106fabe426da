#include "trees/tree_error.h"

#include <cstring>

namespace gs {

std::unexpected<TreeError> treeFail(TreeFault fault, std::string message) {
  return std::unexpected(TreeError{fault, 0, std::move(message)});
}

std::unexpected<TreeError> systemFail(int error, std::string_view doing, std::string_view name) {
  const char* text = ::strerrordesc_np(error);
  std::string message = "cannot " + std::string(doing) + " " + quotedName(name) + ": ";
  message += text != nullptr ? std::string(text) : "error " + std::to_string(error);
  return std::unexpected(TreeError{TreeFault::kSystem, error, std::move(message)});
}

std::string quotedName(std::string_view name) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::size_t kMost = 200;
  std::string out = "\"";
  for (const char c : name.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      out.push_back(c);
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 0xf]};
    }
  }
  out += name.size() > kMost ? "…\"" : "\"";
  return out;
}

}  // namespace gs

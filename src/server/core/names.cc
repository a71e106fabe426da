#include "server/core/names.h"

namespace gs {
namespace {

bool isPlain(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

bool isResourceName(std::string_view text) {
  if (text.empty() || text.size() > kMaxResourceName || text.front() == '-' || text.back() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return isPlain(c) || c == '-'; });
}

Status checkResourceName(std::string_view kind, std::string_view text) {
  if (isResourceName(text)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the name of a {} must be lowercase letters, digits and inner hyphens, at most {}", kind,
                          kMaxResourceName));
}

std::string asResourceName(std::string_view text, std::string_view fallback) {
  std::string out;
  for (const char raw : text.substr(0, kMaxResourceName)) {
    const char c = raw >= 'A' && raw <= 'Z' ? static_cast<char>(raw - 'A' + 'a') : raw;
    if (isPlain(c)) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? std::string(fallback) : out;
}

std::string withSuffix(std::string_view base, std::string_view suffix) {
  return fmt::format("{}{}", base.substr(0, kMaxResourceName - suffix.size()), suffix);
}

}  // namespace gs

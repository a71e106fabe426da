#include "net/http_target.h"

namespace gs {
namespace {

enum class Plus { kLiteral, kSpace };

int hexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> percentDecode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hexValue(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hexValue(text[i + 2]) : -1;
      if (high < 0 || low < 0) return fail(ErrorCode::kInvalidArgument, "the target has a broken percent sequence");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus == Plus::kSpace) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 && !(plus == Plus::kSpace && (c == '\n' || c == '\r' || c == '\t'))) {
      return fail(ErrorCode::kInvalidArgument, "the target has a control character");
    }
    out += c;
  }
  return out;
}

Status checkSegments(std::string_view path) {
  while (!path.empty()) {
    const auto end = std::min(path.find('/', 1), path.size());
    const auto segment = path.substr(1, end - 1);
    if (segment == "." || segment == "..") return fail(ErrorCode::kInvalidArgument, "the path has a dot segment");
    path.remove_prefix(end);
  }
  return {};
}

}  // namespace

Result<HttpTarget> parseHttpTarget(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto slash = target.find_first_of("/?", scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/')) return fail(ErrorCode::kInvalidArgument, "the target must begin with /");
  if (target.contains('#')) return fail(ErrorCode::kInvalidArgument, "the target has a fragment");
  const auto mark = std::min(target.find('?'), target.size());
  HttpTarget out;
  GS_TRY(out.path, percentDecode(target.substr(0, mark), Plus::kLiteral));
  GS_CHECK(checkSegments(out.path));
  auto rest = target.substr(std::min(mark + 1, target.size()));
  while (!rest.empty()) {
    const auto end = std::min(rest.find('&'), rest.size());
    const auto pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    GS_TRY(auto name, percentDecode(pair.substr(0, equals), Plus::kSpace));
    GS_TRY(auto value, percentDecode(pair.substr(std::min(equals + 1, pair.size())), Plus::kSpace));
    out.query.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::string percentEncode(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

}  // namespace gs

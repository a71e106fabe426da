// Request targets: the path and query of origin-form and absolute-form (RFC 9112 §3.2), decoded and judged. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gs {

struct HttpTarget {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
};

// kInvalidArgument: no "/" first, a broken percent sequence, NUL or another control character, a "." or ".." segment
// (also when it was percent-coded), a fragment. In the query "+" is a space.
[[nodiscard]] Result<HttpTarget> parseHttpTarget(std::string_view target);
// The reverse for one path segment or query value: everything but unreserved characters becomes %XX.
[[nodiscard]] std::string percentEncode(std::string_view text);

}  // namespace gs

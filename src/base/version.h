// The version of this build: major.minor.commits-short, e.g. 0.1.339-6d0940d (product convention).
#pragma once

#include <string_view>

namespace gs {
[[nodiscard]] std::string_view versionString();
}  // namespace gs

// The form of names that people give: ResourceName of the HTTP contract. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

inline constexpr std::size_t kMaxResourceName = 63;

// Lowercase letters, digits and inner hyphens, 1 to 63.
[[nodiscard]] bool isResourceName(std::string_view text);
// kInvalidArgument that says what a name of that kind must look like.
[[nodiscard]] Status checkResourceName(std::string_view kind, std::string_view text);
// Foreign text as a resource name: what it may not contain becomes a hyphen; `fallback` when nothing is left.
[[nodiscard]] std::string asResourceName(std::string_view text, std::string_view fallback);
// `base` with `suffix`, cut so that both fit.
[[nodiscard]] std::string withSuffix(std::string_view base, std::string_view suffix);

}  // namespace gs

// Small questions about text from outside. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/utf8.h"

namespace gs {

// At most `limit` bytes, never in the middle of a character.
[[nodiscard]] std::string cutText(std::string_view text, std::size_t limit);
// ASCII only, as header values and host names are compared.
[[nodiscard]] bool equalsIgnoringCase(std::string_view a, std::string_view b);
// Whether `list`, separated by commas, has `item`.
[[nodiscard]] bool listHas(std::string_view list, std::string_view item);
// The path of a request as sent, fit for a problem's `instance`: no query, no odd characters, at most 2,048 bytes.
[[nodiscard]] std::string instanceOf(std::string_view target);

}  // namespace gs

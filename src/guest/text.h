// Foreign text made fit for a sentence: the protocol's strings must be UTF-8 and short, and file names need be neither.
#pragma once

#include <string>
#include <string_view>

namespace gs::guest {

// In double quotes, at most `limit` bytes of it, everything but printable ASCII as \xNN.
[[nodiscard]] std::string quoted(std::string_view text, std::size_t limit = 120);
// strerror without locale: "No such file or directory".
[[nodiscard]] std::string errnoText(int error);

}  // namespace gs::guest

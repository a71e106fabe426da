// The help of a command, made from the tree. It is the reference: enough by itself, also in a pipe.
#pragma once

#include <string>

#include "cli/command.h"

namespace gs::cli {

// Wrapped to `columns`, ends with a newline.
[[nodiscard]] std::string renderHelp(const Command& command, std::size_t columns = 100);

}  // namespace gs::cli

// The whole program but for main(): words in, exit code out.
#pragma once

#include <span>
#include <string>

#include "cli/config_file.h"

namespace gs::cli {

// Parses, runs, prints the error if there is one. Never throws.
[[nodiscard]] int runApp(std::span<const std::string> words, Environment environment);

}  // namespace gs::cli

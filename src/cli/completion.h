// Completion scripts for bash, zsh and fish, made from the command tree, so that they always fit this very program.
//
// The scripts stand alone: they do not call the program, so that TAB never waits for a server.
#pragma once

#include <string>

#include "cli/command.h"

namespace gs::cli {

[[nodiscard]] std::string bashCompletion(const Command& root);
[[nodiscard]] std::string zshCompletion(const Command& root);
[[nodiscard]] std::string fishCompletion(const Command& root);

}  // namespace gs::cli

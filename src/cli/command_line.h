// Turns the words of a command line into a command that can run.
//
// Options of the root command are accepted at any place before `--`. What follows `--` goes untouched to the command
// that declared trailing words. Values are stored into the variables that the tree's options point at.
#pragma once

#include <span>

#include "cli/command.h"

namespace gs::cli {

enum class Wish : std::uint8_t { kRun, kHelp };

struct Invocation {
  const Command* command = nullptr;  // never null; the deepest one that was named
  Wish wish = Wish::kRun;
};

// kInvalidArgument names the option or word that is wrong, with a fix. `command` of the error's place is given back in
// `where` (never null) so that the caller can point at its help.
[[nodiscard]] Result<Invocation> parseCommandLine(const Command& root, std::span<const std::string> words,
                                                  const Command** where);

// The words without the program's name; `--` splits them.
struct SplitWords {
  std::vector<std::string> own;
  std::optional<std::vector<std::string>> trailing;  // absent when there is no `--`
};
[[nodiscard]] SplitWords splitAtDashes(std::span<const std::string> words);

}  // namespace gs::cli

// Pseudo-terminals: one for each exec that asks for a terminal.
//
// Opened in the sandbox's own /dev, whose contents belong to the sandbox: nothing here waits, whatever lies there.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "guest/spawn.h"
#include "guest/unique_fd.h"

namespace gs::guest {

struct Terminal {
  UniqueFd ours;    // what is written is typed, what is read is shown; non-blocking
  UniqueFd theirs;  // for the program
};

// Sized and set for UTF-8. The error is an errno.
[[nodiscard]] std::expected<Terminal, int> openTerminal(TerminalSize size);

// Nothing when a side is outside 1..10,000.
[[nodiscard]] std::optional<TerminalSize> terminalSize(std::uint32_t rows, std::uint32_t columns);

// The foreground process group gets SIGWINCH when the size is another than before.
void resizeTerminal(const UniqueFd& ours, TerminalSize size);

// Types the end-of-file character, when there is a line discipline that takes it as that.
void typeEndOfFile(const UniqueFd& ours);

// Invalid when out of descriptors.
[[nodiscard]] UniqueFd duplicate(const UniqueFd& fd);

}  // namespace gs::guest

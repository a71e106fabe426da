// Starts processes: everything that can be prepared is, and the rest happens in a child that borrows our memory.
//
// clone(CLONE_VM | CLONE_VFORK) costs the same whatever the guest's size and cannot fail for lack of memory as fork can;
// the child writes why it failed straight into our memory. The price: between clone and exec only raw system calls.
#pragma once

#include <sys/types.h>

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "guest/user_lookup.h"

namespace gs::guest {

struct TerminalSize {
  unsigned short rows;
  unsigned short columns;
};

// ProcessSpec of the protocol, with StartExec's terminal.
struct LaunchSpec {
  std::vector<std::string> argv;  // empty, with a terminal: the user's login shell
  std::vector<std::string> env;
  std::string workingDir;
  std::string user;
  std::optional<TerminalSize> terminal{};
};

// Why a spec is over a limit or malformed, as a sentence; nothing when it may be tried.
[[nodiscard]] std::optional<std::string> checkLaunchSpec(const LaunchSpec& spec);

struct StartFailure {
  int exitCode;         // 126 cannot run, 127 not found: what shells say
  std::string message;  // a sentence, printable, at most 1 KiB
};

// The three standard streams of the new process; duplicated, not taken. With LaunchSpec::terminal they are the terminal's
// end for programs, which becomes the controlling terminal and the user's own.
struct Stdio {
  int in;
  int out;
  int err;
};

// What of the guest itself must not be passed on to a process.
struct ChildLimits {
  std::optional<int> oomScoreAdj;            // set: written in the child
  std::optional<unsigned long> openFiles;    // set: the soft limit that the guest was started with
};

// Starts it in a session and process group of its own and returns its pid once its program runs. The child has default
// signal dispositions, an empty signal mask, and no descriptor but the three.
[[nodiscard]] std::expected<pid_t, StartFailure> startProcess(const LaunchSpec& spec,
                                                              std::span<const std::string> sharedEnv, Stdio stdio,
                                                              const ChildLimits& limits);

}  // namespace gs::guest

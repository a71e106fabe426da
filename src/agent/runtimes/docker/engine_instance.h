// Tells one life of the Docker engine from the next, by the process behind its socket.
//
// The engine's API has nothing that changes with a restart and nothing else (its ID is for ever), so the kernel is asked:
// whose socket is it (SO_PEERCRED), and when did that process start. That needs no answer of the engine and holds while it
// hangs. With socket activation (Debian's docker.socket) the listener is init's for ever; then the pid file says who serves.
// Any thread. Opens a connection and closes it at once; never blocks.
#pragma once

#include <string>

#include "base/result.h"

namespace gs {

// Where to look; others in tests.
struct EnginePlaces {
  std::string proc = "/proc";
  std::string pidFile = "/var/run/docker.pid";  // dockerd's default, and that of all packages with socket activation
};

// "<boot>:<pid>:<start>". kUnavailable, reason "docker_unreachable": nobody listens. Empty: the process cannot be found
// out (another pid namespace, activation without a pid file).
[[nodiscard]] Result<std::string> engineInstance(const std::string& socketPath, const EnginePlaces& places);

}  // namespace gs

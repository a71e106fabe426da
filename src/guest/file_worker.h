// The process that carries out one file operation.
#pragma once

#include <optional>

namespace gs::guest {

// In a fresh child of the guest: takes over the connection, carries out what its first frame asks, and exits. Blocking.
// Limits: 1,024 descriptors, 128 MiB of address space, no core; the out-of-memory score of the sandbox's programs.
[[noreturn]] void runFileWorker(int socket, std::optional<int> oomScoreAdj);

}  // namespace gs::guest

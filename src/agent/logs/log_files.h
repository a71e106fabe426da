// The files of one sandbox's log, by number. Blocking, small.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace gs {

// How much of each sandbox's output a host keeps (agent.yaml, `logs`).
struct LogLimits {
  std::uint64_t bytes = 16ULL << 20;  // 256 KiB..16 GiB, all files together
  std::uint32_t files = 4;            // 2..64
};

[[nodiscard]] std::string logFilePath(const std::string& folder, std::uint64_t number);
// Ascending. A folder that is not there has none.
[[nodiscard]] std::vector<std::uint64_t> logFileNumbers(const std::string& folder);

}  // namespace gs

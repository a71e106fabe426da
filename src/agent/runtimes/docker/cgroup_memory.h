// Whether the kernel has killed in a container for want of memory, while the container still runs.
//
// Docker says so only once a container has ended, and a sandbox's first process outlives its workload: the kernel's own
// count of the container's control group (version 1 or 2) knows at once. Blocking, but only reads of /proc and /sys.
#pragma once

#include <cstdint>
#include <string>

namespace gs {

struct CgroupRoots {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

// Kills so far in the memory control group of this process. 0 also when it cannot be found out: a missing count must
// not make a death by memory of any other death.
[[nodiscard]] std::uint64_t oomKillsOf(int pid, const CgroupRoots& roots = {});

}  // namespace gs

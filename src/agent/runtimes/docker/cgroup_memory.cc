#include "agent/runtimes/docker/cgroup_memory.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <string_view>

namespace gs {
namespace {

// The number after "oom_kill " at the start of a line; lines such as "oom_kill_disable 0" are others.
std::uint64_t countIn(const std::string& path) {
  constexpr std::string_view kKey = "oom_kill ";
  std::ifstream in(path);
  std::uint64_t count = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(kKey)) std::from_chars(line.data() + kKey.size(), line.data() + line.size(), count);
  }
  return count;
}

// "a,memory,b" has memory.
bool namesMemory(std::string_view controllers) {
  while (!controllers.empty()) {
    const auto name = controllers.substr(0, controllers.find(','));
    if (name == "memory") return true;
    controllers.remove_prefix(std::min(name.size() + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::uint64_t oomKillsOf(int pid, const CgroupRoots& roots) {
  if (pid <= 0) return 0;
  std::ifstream in(fmt::format("{}/{}/cgroup", roots.proc, pid));
  std::uint64_t count = 0;
  // Lines are "<hierarchy>:<controllers>:<path>"; version 2 is hierarchy 0 without controllers.
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const auto path = std::string_view(line).substr(second + 1);
    if (namesMemory(controllers)) {
      count += countIn(fmt::format("{}/memory{}/memory.oom_control", roots.cgroup, path));
    } else if (controllers.empty() && line.starts_with("0:")) {
      count += countIn(fmt::format("{}{}/memory.events", roots.cgroup, path));
    }
  }
  return count;
}

}  // namespace gs

// The agent's settings: /etc/gstacks/agent.yaml, the environment, and flags, in rising order of weight.
//
// Unknown keys are refused with their name, so that a typing error cannot silently lift a limit. Blocking; at start only.
#pragma once

#include <string>

#include "agent/core/deletion_fence.h"
#include "agent/logs/log_files.h"
#include "base/result.h"

namespace gs {

inline constexpr const char* kDefaultConfigFile = "/etc/gstacks/agent.yaml";

struct AgentConfig {
  std::string stateDir = "/var/lib/gstacks/agent";
  std::string runDir = "/run/gstacks/agent";
  std::string dockerSocket = "/var/run/docker.sock";
  std::string guestPath;  // empty: gstacks-guest beside this program
  std::string traits;     // comma-separated; AGENT_TRAITS is appended
  std::uint64_t diskReserveBytes = 1ULL << 30;
  DeletionFenceLimits deletionFence;
  LogLimits logs;
};

enum class ConfigFile : std::uint8_t { kMustExist, kMayBeMissing };

// kNotFound, kInvalidArgument naming the line or key.
[[nodiscard]] Result<AgentConfig> loadAgentConfig(const std::string& path, ConfigFile presence);

}  // namespace gs

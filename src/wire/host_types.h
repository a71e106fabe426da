// What a host is and how it fares, as plain values. Mirrors proto/globalstacks/agent/v1/host_state.proto.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gs {

enum class RuntimeState : std::uint8_t { kHealthy, kUnhealthy, kAbsent, kComingSoon };

struct RuntimeHealth {
  std::string name;
  RuntimeState state = RuntimeState::kAbsent;
  std::string version;
  std::string reason;  // one sentence; empty when healthy
  friend bool operator==(const RuntimeHealth&, const RuntimeHealth&) = default;
};

struct HostCondition {
  std::string code;
  std::string message;
  std::string fix;
  friend bool operator==(const HostCondition&, const HostCondition&) = default;
};

struct HostFacts {
  std::string agentVersion;
  std::string osName;
  std::string osVersion;
  std::string architecture;
  std::string kernel;
  std::string hostname;
  std::uint32_t cpuCount = 0;
  std::string cpuModel;
  std::uint64_t memoryBytes = 0;
  std::uint64_t diskBytes = 0;
  std::vector<std::string> traits;
  std::vector<RuntimeHealth> runtimes;
  std::vector<HostCondition> conditions;
  std::string bootId;
  friend bool operator==(const HostFacts&, const HostFacts&) = default;
};

struct HostTelemetry {
  std::uint64_t memoryAvailableBytes = 0;
  std::uint64_t diskFreeBytes = 0;
  std::uint64_t uptimeSeconds = 0;
  std::uint32_t load1Milli = 0;
  std::uint32_t load5Milli = 0;
  std::uint32_t load15Milli = 0;
  std::uint64_t agentRssBytes = 0;
  std::uint32_t sandboxesRunning = 0;
  friend bool operator==(const HostTelemetry&, const HostTelemetry&) = default;
};

}  // namespace gs

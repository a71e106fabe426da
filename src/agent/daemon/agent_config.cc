#include "agent/daemon/agent_config.h"

#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>

namespace gs {
namespace {

std::string joinTraits(const YAML::Node& node) {
  if (node.IsScalar()) return node.as<std::string>();
  std::string out;
  for (const auto& item : node) out += (out.empty() ? "" : ",") + item.as<std::string>();
  return out;
}

Result<std::uint32_t> numberWithin(const YAML::Node& node, std::string_view key, std::uint32_t least, std::uint32_t most) {
  const auto value = node.as<std::uint64_t>();
  if (value < least || value > most) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("deletionFence.{} must be {} to {}, and is {}", key, least, most, value));
  }
  return static_cast<std::uint32_t>(value);
}

Result<DeletionFenceLimits> readFence(const YAML::Node& node) {
  DeletionFenceLimits limits;
  if (!node.IsMap()) return fail(ErrorCode::kInvalidArgument, "deletionFence must hold a map of limits");
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (key == "percent") {
      GS_TRY(limits.percent, numberWithin(entry.second, key, 1, 100));
    } else if (key == "atLeast") {
      GS_TRY(limits.atLeast, numberWithin(entry.second, key, 1, 100'000));
    } else if (key == "windowSeconds") {
      GS_TRY(const auto seconds, numberWithin(entry.second, key, 1, 24 * 3600));
      limits.window = Millis(std::int64_t{seconds} * 1000);
    } else if (key == "remoteConfirmation") {
      limits.remote = entry.second.as<bool>() ? RemoteConfirmation::kTaken : RemoteConfirmation::kRefused;
    } else {
      return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("unknown setting 'deletionFence.{}'", key))
                      .withFix("known: percent, atLeast, windowSeconds, remoteConfirmation"));
    }
  }
  return limits;
}

Result<LogLimits> readLogs(const YAML::Node& node) {
  LogLimits limits;
  if (!node.IsMap()) return fail(ErrorCode::kInvalidArgument, "logs must hold a map of limits");
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    const auto value = entry.second.as<std::uint64_t>();
    const auto within = [&](std::uint64_t least, std::uint64_t most) -> Status {
      if (value >= least && value <= most) return {};
      return fail(ErrorCode::kInvalidArgument, fmt::format("logs.{} must be {} to {}, and is {}", key, least, most, value));
    };
    if (key == "bytesPerSandbox") {
      GS_CHECK(within(256ULL << 10, 16ULL << 30));
      limits.bytes = value;
    } else if (key == "filesPerSandbox") {
      GS_CHECK(within(2, 64));
      limits.files = static_cast<std::uint32_t>(value);
    } else {
      return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("unknown setting 'logs.{}'", key))
                      .withFix("known: bytesPerSandbox, filesPerSandbox"));
    }
  }
  return limits;
}

Result<AgentConfig> read(const std::string& path) {
  AgentConfig config;
  const YAML::Node root = YAML::LoadFile(path);
  if (root.IsNull()) return config;
  if (!root.IsMap()) return fail(ErrorCode::kInvalidArgument, path + " must hold a map of settings");
  for (const auto& entry : root) {
    const auto key = entry.first.as<std::string>();
    if (key == "stateDir") {
      config.stateDir = entry.second.as<std::string>();
    } else if (key == "runDir") {
      config.runDir = entry.second.as<std::string>();
    } else if (key == "dockerSocket") {
      config.dockerSocket = entry.second.as<std::string>();
    } else if (key == "guestPath") {
      config.guestPath = entry.second.as<std::string>();
    } else if (key == "traits") {
      config.traits = joinTraits(entry.second);
    } else if (key == "diskReserveBytes") {
      config.diskReserveBytes = entry.second.as<std::uint64_t>();
    } else if (key == "deletionFence") {
      auto limits = readFence(entry.second);
      if (!limits) return fail(std::move(limits).error().context(path));
      config.deletionFence = *limits;
    } else if (key == "logs") {
      auto limits = readLogs(entry.second);
      if (!limits) return fail(std::move(limits).error().context(path));
      config.logs = *limits;
    } else {
      return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("{}: unknown setting '{}'", path, key))
                      .withFix("known: stateDir, runDir, dockerSocket, guestPath, traits, diskReserveBytes, deletionFence, logs"));
    }
  }
  return config;
}

}  // namespace

Result<AgentConfig> loadAgentConfig(const std::string& path, ConfigFile presence) {
  Result<AgentConfig> config = AgentConfig();
  if (std::filesystem::exists(path)) {
    try {
      config = read(path);
    } catch (const YAML::Exception& e) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", path, e.what()));
    }
  } else if (presence == ConfigFile::kMustExist) {
    return fail(ErrorCode::kNotFound, "there is no configuration file " + path);
  }
  if (!config) return config;
  if (const char* traits = std::getenv("AGENT_TRAITS"); traits != nullptr) {
    config->traits += (config->traits.empty() ? "" : ",") + std::string(traits);
  }
  return config;
}

}  // namespace gs

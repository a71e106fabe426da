#include <nlohmann/json.hpp>

#include <set>

#include "server/api/text.h"
#include "server/api/views.h"

namespace gs::view {
namespace {

constexpr std::size_t kMaxConditions = 32;
constexpr std::size_t kMaxNames = 256;

std::string_view stateName(HostState state) {
  switch (state) {
    case HostState::kConnected: return "connected";
    case HostState::kDisconnected: return "disconnected";
    case HostState::kRevoked: return "revoked";
  }
  return "disconnected";
}

std::string_view runtimeStateName(RuntimeState state) {
  switch (state) {
    case RuntimeState::kHealthy: return "healthy";
    case RuntimeState::kUnhealthy: return "unhealthy";
    case RuntimeState::kAbsent: return "absent";
    case RuntimeState::kComingSoon: return "coming_soon";
  }
  return "absent";
}

// "0.1.339-6d0940d", loosely: digits, dots, then a hyphen and letters.
bool isBuildVersion(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.find('-') == std::string_view::npos) return false;
  return text.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz.-") == std::string_view::npos;
}

void putText(Json& out, const char* member, const std::string& text, std::size_t limit) {
  if (!text.empty()) out[member] = cutText(text, limit);
}

Json sortedNames(const std::vector<std::string>& names) {
  Json out = Json::array();
  for (const auto& name : std::set<std::string>(names.begin(), names.end())) {
    if (out.size() < kMaxNames) out.push_back(name);
  }
  return out;
}

Json runtime(const RuntimeHealth& health) {
  Json out{{"name", health.name},
           {"state", runtimeStateName(health.state)},
           {"schedulable", health.state == RuntimeState::kHealthy}};
  putText(out, "version", health.version, 64);
  if (health.state != RuntimeState::kHealthy) putText(out, "reason", health.reason, 512);
  return out;
}

Json runtimes(const HostFacts& facts) {
  Json out = Json::array();
  for (const auto& each : facts.runtimes) out.push_back(runtime(each));
  return out;
}

// Found here and not on the host, which cannot know.
Json duplicateIdentity(WallTime since) {
  return {{"code", "duplicate_identity"},
          {"message", "two agents take turns with this host's identity, as after its disk was cloned; each cuts the other's link, "
                      "and what is wanted reaches only one of them at a time"},
          {"fix", "on the copy: stop gstacks-agent, remove its whole state directory, and enroll it anew with a token of gstacks token create; "
                  "if nobody can tell which is the copy, remove the host with gstacks host remove --force and enroll both"},
          {"since", formatTime(since)}};
}

Json conditions(const HostRecord& record) {
  const HostFacts& facts = record.facts;
  Json out = Json::array();
  if (record.duplicateSince) out.push_back(duplicateIdentity(*record.duplicateSince));
  for (const auto& each : facts.conditions) {
    if (out.size() == kMaxConditions || each.code.empty() || each.message.empty()) continue;
    Json item{{"code", each.code}, {"message", cutText(each.message, 1024)}};
    putText(item, "fix", each.fix, 1024);
    out.push_back(std::move(item));
  }
  return out;
}

void putFacts(Json& out, const HostRecord& record) {
  const HostFacts& facts = record.facts;
  if (isBuildVersion(facts.agentVersion)) out["agentVersion"] = facts.agentVersion;
  if (!facts.osName.empty()) {
    out["os"] = {{"name", cutText(facts.osName, 64)}, {"version", cutText(facts.osVersion, 64)}};
  }
  if (facts.architecture == "amd64" || facts.architecture == "arm64") out["architecture"] = facts.architecture;
  putText(out, "kernel", facts.kernel, 128);
  if (facts.cpuCount > 0) out["cpuCount"] = facts.cpuCount;
  putText(out, "cpuModel", facts.cpuModel, 256);
  if (facts.memoryBytes > 0) out["memoryBytes"] = facts.memoryBytes;
  if (facts.diskBytes > 0) out["diskBytes"] = facts.diskBytes;
}

void putTelemetry(Json& out, const HostTelemetry& telemetry) {
  constexpr double kMilli = 1000.0;
  out["memoryAvailableBytes"] = telemetry.memoryAvailableBytes;
  out["diskFreeBytes"] = telemetry.diskFreeBytes;
  out["uptimeSeconds"] = telemetry.uptimeSeconds;
  out["load1"] = telemetry.load1Milli / kMilli;
  out["load5"] = telemetry.load5Milli / kMilli;
  out["load15"] = telemetry.load15Milli / kMilli;
}

}  // namespace

Json host(const HostRecord& record) {
  Json out{{"id", record.id.text()},
           {"name", record.name},
           {"clusterId", record.clusterId.text()},
           {"state", stateName(record.state)},
           {"features", sortedNames(record.features)},
           {"traits", sortedNames(record.facts.traits)},
           {"tags", Json::object()},
           {"runtimes", runtimes(record.facts)},
           {"conditions", conditions(record)},
           {"sandboxCount", record.sandboxCount},
           {"createdAt", formatTime(record.createdAt)},
           {"version", record.version}};
  for (const auto& [key, value] : record.tags) out["tags"][key] = value;
  if (record.state == HostState::kConnected && record.connectedAt) out["connectedAt"] = formatTime(*record.connectedAt);
  if (record.lastSeenAt) out["lastSeenAt"] = formatTime(*record.lastSeenAt);
  if (record.state != HostState::kConnected) putText(out, "disconnectReason", record.disconnectReason, 64);
  if (record.protocol > 0) out["protocol"] = record.protocol;
  out["cordoned"] = record.cordoned;
  if (record.trial.failures > 0) out["failedCreations"] = record.trial.failures;
  if (record.trial.restsUntil) out["restsUntil"] = formatTime(*record.trial.restsUntil);
  putFacts(out, record);
  // Telemetry comes with the first link, not with the enrollment.
  if (record.lastSeenAt) putTelemetry(out, record.telemetry);
  return out;
}

}  // namespace gs::view

#include <nlohmann/json.hpp>

#include <csignal>
#include <cstring>

#include "server/api/text.h"
#include "server/api/views.h"

namespace gs::view {
namespace {

constexpr std::size_t kMaxMessage = 1024;
constexpr std::size_t kMaxList = 1024;
constexpr std::size_t kMaxPlacementHosts = 1000;

Json exitOf(const ExitInfo& exit, const std::string& by) {
  Json out{{"at", formatTime(exit.at)}};
  if (exit.signal > 0) {
    out["signal"] = view::signalText(exit.signal);
  } else if (exit.code >= 0 && exit.code <= 255) {
    out["code"] = exit.code;
  }
  if (exit.oomKilled) out["oomKilled"] = true;
  if (exit.cause != ExitCause::kUnspecified) out["cause"] = exitCauseName(exit.cause);
  if (!by.empty()) out["by"] = by;
  return out;
}

// A list of texts out of an image configuration, where null and absent mean none.
Json textsOf(const Json& config, const char* member) {
  Json out = Json::array();
  const auto found = config.find(member);
  if (found == config.end() || !found->is_array()) return out;
  for (const auto& item : *found) {
    if (item.is_string() && out.size() < kMaxList) out.push_back(item);
  }
  return out;
}

Json imageConfig(const std::string& text) {
  Json out{{"env", Json::array()}, {"entrypoint", Json::array()}, {"cmd", Json::array()}};
  const auto image = parseJson(text);
  if (!image || !image->is_object()) return out;
  const auto config = image->find("config");
  if (config == image->end() || !config->is_object()) return out;
  out["env"] = textsOf(*config, "Env");
  out["entrypoint"] = textsOf(*config, "Entrypoint");
  out["cmd"] = textsOf(*config, "Cmd");
  for (const auto& [from, to] : {std::pair("WorkingDir", "workingDir"), std::pair("User", "user")}) {
    const auto value = findString(*config, from);
    if (value && *value && !(*value)->empty()) out[to] = **value;
  }
  return out;
}

Json layersOf(const std::string& manifest) {
  const auto parsed = parseJson(manifest);
  if (!parsed || !parsed->is_object()) return Json::array();
  return parsed->value("layers", Json::array());
}

Json envOf(const SandboxSpec& spec) {
  Json out = Json::object();
  for (const auto& [name, value] : spec.env) out[name] = value;
  return out;
}

Json restartOf(const RestartPolicy& policy) {
  Json out{{"mode", restartModeName(policy.mode)}};
  if (policy.maxRestarts != 0) out["maxRestarts"] = policy.maxRestarts;
  return out;
}

void putSpec(Json& out, const SandboxSpec& spec) {
  out["runtime"] = spec.runtime;
  if (!spec.command.empty()) out["command"] = spec.command;
  out["env"] = envOf(spec);
  if (!spec.workingDir.empty()) out["workingDir"] = spec.workingDir;
  if (!spec.user.empty()) out["user"] = spec.user;
  out["resources"] = {{"cpuMillis", spec.resources.cpuMillis},
                      {"memoryBytes", spec.resources.memoryBytes},
                      {"pids", spec.resources.pids}};
  if (spec.stopAfterDisconnect != Seconds(0)) out["onDisconnect"] = {{"stopAfterSeconds", spec.stopAfterDisconnect.count()}};
  if (spec.restart.mode != RestartMode::kNever) out["restart"] = restartOf(spec.restart);
}

}  // namespace

std::string signalText(int signal) {
  if (signal >= SIGRTMIN && signal <= SIGRTMAX) return fmt::format("RTMIN+{}", signal - SIGRTMIN);
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string(name) : fmt::format("SIGNAL{}", signal);
}

Json blueprint(const BlueprintRecord& record) {
  return {{"id", record.id.text()},
          {"name", record.name},
          {"digest", record.manifestDigest.text()},
          {"architecture", record.architecture},
          {"os", record.os},
          {"sizeBytes", record.sizeBytes},
          {"layers", layersOf(record.manifest)},
          {"config", imageConfig(record.imageConfig)},
          {"archiveDigest", record.archiveDigest.text()},
          {"createdAt", formatTime(record.createdAt)},
          {"createdBy", record.createdBy.text()},
          {"source", record.source}};
}

Json placement(const PlacementReport& report) {
  Json hosts = Json::array();
  std::size_t fitting = 0;
  for (const auto& line : report.hosts) {
    if (!line.rejection) ++fitting;
    if (hosts.size() == kMaxPlacementHosts) continue;
    Json host{{"hostId", line.host.text()}, {"name", line.hostName}, {"fits", !line.rejection.has_value()}};
    if (line.rejection) {
      host["reason"] = rejectionReasonName(line.rejection->reason);
      if (!line.rejection->detail.empty()) host["detail"] = cutText(line.rejection->detail, kMaxMessage);
    }
    hosts.push_back(std::move(host));
  }
  Json out{{"hosts", std::move(hosts)}, {"hostCount", report.hosts.size()}, {"fittingCount", fitting}};
  if (report.chosen) out["hostId"] = report.chosen->text();
  if (!report.fix.empty()) out["fix"] = cutText(report.fix, kMaxMessage);
  return out;
}

Json sandboxEvent(const SandboxEventRecord& record) {
  Json out{{"sequence", record.sequence},
           {"at", formatTime(record.at)},
           {"kind", sandboxEventKindName(record.kind)},
           {"actor", record.actor},
           {"sandboxId", record.sandboxId.text()},
           {"name", record.name},
           {"desiredState", desiredStateName(record.desired)},
           {"state", sandboxStateName(record.state)},
           {"generation", record.generation},
           {"observedGeneration", record.observedGeneration},
           {"restarts", record.restarts}};
  if (!record.hostId.empty()) out["hostId"] = record.hostId.text();
  if (!record.reason.empty()) out["reason"] = record.reason;
  if (!record.message.empty()) out["message"] = cutText(record.message, kMaxMessage);
  if (record.exit) out["exit"] = exitOf(*record.exit, record.exitBy);
  return out;
}

Json sandbox(const SandboxRecord& record) {
  Json out{{"id", record.id.text()},
           {"name", record.name},
           {"clusterId", record.clusterId.text()},
           {"blueprint",
            {{"id", record.blueprintId.text()},
             {"name", record.spec.blueprintName},
             {"digest", record.spec.manifest.text()}}},
           {"desiredState", desiredStateName(record.desired)},
           {"state", sandboxStateName(record.state)},
           {"generation", record.generation},
           {"rootGeneration", record.rootGeneration},
           {"observedGeneration", record.observedGeneration},
           {"sequence", record.sequence},
           {"restarts", record.restarts},
           {"createdAt", formatTime(record.createdAt)},
           {"updatedAt", formatTime(record.updatedAt)},
           {"createdBy", record.createdBy.text()}};
  if (!record.hostId.empty()) out["hostId"] = record.hostId.text();
  putSpec(out, record.spec);
  if (!record.reason.empty()) out["reason"] = record.reason;
  if (!record.message.empty()) out["message"] = cutText(record.message, kMaxMessage);
  if (record.exit) out["exit"] = exitOf(*record.exit, record.exitBy);
  if (record.archive) {
    out["archive"] = {{"digest", record.archive->manifestDigest.text()},
                      {"sizeBytes", record.archive->sizeBytes},
                      {"layerBytes", record.archive->layerBytes},
                      {"archivedAt", formatTime(record.archive->at)}};
  }
  if (record.startedAt) out["startedAt"] = formatTime(*record.startedAt);
  if (record.expiresAt) out["expiresAt"] = formatTime(*record.expiresAt);
  if (record.idleStop != Seconds(0)) out["idleStopSeconds"] = record.idleStop.count();
  return out;
}

}  // namespace gs::view

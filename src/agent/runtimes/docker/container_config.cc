#include "agent/runtimes/docker/container_config.h"

#include <nlohmann/json.hpp>

namespace gs {
namespace {

// Under memory pressure on the host a sandbox goes before dockerd (-500) and before the agent.
constexpr int kOomScoreAdj = 500;
constexpr std::uint64_t kNanosPerMilli = 1'000'000;

using enum CapabilityRule;
// With no-new-privileges nobody gains any of these by exec, so they matter for processes that run as root only.
constexpr std::array kCapabilities{
    CapabilityChoice{"CHOWN", kKeep, "package managers and build tools give files to their users"},
    CapabilityChoice{"DAC_OVERRIDE", kKeep, "root reads and writes files of other users, as everything assumes"},
    CapabilityChoice{"FOWNER", kKeep, "chmod and utimes on files of other users: tar, dpkg, rsync"},
    CapabilityChoice{"FSETID", kKeep, "keeps setuid and setgid bits when files are installed"},
    CapabilityChoice{"KILL", kKeep, "the guest signals processes that run as another user"},
    CapabilityChoice{"NET_BIND_SERVICE", kKeep, "servers bind 80 and 443 inside their own, sealed namespace"},
    CapabilityChoice{"SETGID", kKeep, "the guest and every daemon drop from root to a user"},
    CapabilityChoice{"SETUID", kKeep, "the guest and every daemon drop from root to a user"},
    CapabilityChoice{"SYS_CHROOT", kKeep, "privilege separation of sshd and postfix, apt, debootstrap"},
    CapabilityChoice{"AUDIT_WRITE", kDrop, "would write into the host's audit log; su and useradd work without"},
    CapabilityChoice{"MKNOD", kDrop, "device nodes have no use here, and are a way to the host's disks"},
    CapabilityChoice{"NET_RAW", kDrop, "forged packets; ping works without, through ping sockets"},
    CapabilityChoice{"SETFCAP", kDrop, "file capabilities grant nothing under no-new-privileges"},
    CapabilityChoice{"SETPCAP", kDrop, "the bounding set means nothing under no-new-privileges"},
};

Json readOnlyBind(std::string_view source, std::string_view target) {
  // Mounts, not Binds: a source that is missing is an error there, and a new root-owned folder with Binds.
  return {{"Type", "bind"},
          {"Source", source},
          {"Target", target},
          {"ReadOnly", true},
          {"BindOptions", {{"Propagation", "rprivate"}}}};
}

Json keptCapabilities() {
  Json kept = Json::array();
  for (const auto& choice : kCapabilities) {
    if (choice.rule == kKeep) kept.push_back(choice.name);
  }
  return kept;
}

Json hostConfig(const ContainerPlan& plan) {
  const auto& resources = plan.spec.resources;
  return {
      {"NetworkMode", "none"},
      {"Privileged", false},
      {"CapDrop", {"ALL"}},
      {"CapAdd", keptCapabilities()},
      {"SecurityOpt", {"no-new-privileges:true"}},  // seccomp and AppArmor stay at the engine's default profiles
      {"IpcMode", "private"},
      {"CgroupnsMode", "private"},
      {"Init", false},
      {"AutoRemove", false},
      {"RestartPolicy", {{"Name", "no"}}},  // the supervisor decides; a runtime that restarts by itself breaks fencing
      {"Memory", resources.memoryBytes},
      {"MemorySwap", resources.memoryBytes},  // equal: no swap
      {"NanoCpus", resources.cpuMillis * kNanosPerMilli},
      {"PidsLimit", resources.pids},
      {"OomScoreAdj", kOomScoreAdj},
      {"LogConfig", {{"Type", "none"}, {"Config", Json::object()}}},  // a workload's output cannot fill the host's disk
      {"Mounts", {readOnlyBind(plan.mounts.guestBinary, kGuestTarget), readOnlyBind(plan.mounts.runDir, kRunTarget)}},
  };
}

}  // namespace

std::span<const CapabilityChoice> capabilityChoices() {
  return kCapabilities;
}

std::string containerName(const SandboxId& id) {
  return "gstacks-" + id.text();
}

Json containerConfig(const ContainerPlan& plan, const std::vector<std::string>& entrypoint) {
  return {
      // By id: the tag in plan.image.reference only keeps the image from being pruned, and can be moved by others.
      {"Image", plan.image.config.text()},
      {"Hostname", plan.spec.name},
      {"Entrypoint", entrypoint},
      {"Cmd", Json::array()},
      {"User", "0:0"},  // the guest drops to the workload's user itself
      {"WorkingDir", "/"},
      {"Env", Json::array()},
      {"Tty", false},
      {"OpenStdin", false},
      {"AttachStdin", false},
      {"AttachStdout", false},
      {"AttachStderr", false},
      {"StopSignal", "SIGTERM"},
      {"Healthcheck", {{"Test", {"NONE"}}}},  // an image's own would run through dockerd's exec for ever
      {"Labels",
       {{kLabelManaged, "1"},
        {kLabelSandbox, plan.sandboxId.text()},
        {kLabelHost, plan.hostId.text()},
        {kLabelGeneration, std::to_string(plan.generation)},
        {kLabelBlueprint, plan.image.manifest.text()},
        {kLabelUser, plan.execDefaults().user},
        {kLabelWorkingDir, plan.execDefaults().workingDir}}},
      {"HostConfig", hostConfig(plan)},
  };
}

}  // namespace gs

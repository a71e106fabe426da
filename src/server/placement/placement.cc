#include "server/placement/placement.h"

namespace gs {
namespace {

constexpr std::uint64_t kMebibyte = 1ULL << 20;
constexpr std::uint64_t kWeightUncached = 3;

const RuntimeHealth* findRuntime(const HostLoad& load, std::string_view name) {
  for (const auto& each : load.host.facts.runtimes) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

const HostCondition* diskCondition(const HostLoad& load) {
  for (const auto& each : load.host.facts.conditions) {
    if (each.code == "disk_low") return &each;
  }
  return nullptr;
}

const std::string* missingTrait(const PlacementRequest& request, const HostLoad& load) {
  const auto& traits = load.host.facts.traits;
  for (const auto& each : request.traits) {
    if (std::find(traits.begin(), traits.end(), each) == traits.end()) return &each;
  }
  return nullptr;
}

const std::pair<const std::string, std::string>* missingTag(const PlacementRequest& request, const HostLoad& load) {
  for (const auto& each : request.tags) {
    const auto found = load.host.tags.find(each.first);
    if (found == load.host.tags.end() || found->second != each.second) return &each;
  }
  return nullptr;
}

std::uint64_t cpuCapacity(const PlacementRequest& request, const HostLoad& load) {
  return load.host.facts.cpuCount * 1000ULL * request.rules.cpuOvercommit;
}

bool isWrongArchitecture(const PlacementRequest& request, const HostLoad& load) {
  return !request.architecture.empty() && load.host.facts.architecture != request.architecture;
}

std::optional<RejectionReason> checkDisk(const PlacementRequest& request, const HostLoad& load) {
  if (diskCondition(load) != nullptr) return RejectionReason::kDiskLow;
  // 0 is what a host says that has not measured yet; one that is really full has the condition.
  const std::uint64_t free = load.host.telemetry.diskFreeBytes;
  if (free > 0 && !load.holdsBlueprint && request.blueprintBytes > free) return RejectionReason::kNoDisk;
  return std::nullopt;
}

std::optional<RejectionReason> checkHost(const PlacementRequest& request, const HostLoad& load) {
  if (load.host.state == HostState::kRevoked) return RejectionReason::kHostRemoved;
  if (load.host.clusterId != request.cluster) return RejectionReason::kOtherCluster;
  if (load.host.state != HostState::kConnected) return RejectionReason::kNotConnected;
  const auto* runtime = findRuntime(load, request.runtime);
  switch (runtime == nullptr ? RuntimeState::kAbsent : runtime->state) {
    case RuntimeState::kHealthy: break;
    case RuntimeState::kComingSoon: return RejectionReason::kRuntimeComingSoon;
    case RuntimeState::kAbsent: return RejectionReason::kRuntimeAbsent;
    case RuntimeState::kUnhealthy: return RejectionReason::kRuntimeUnhealthy;
  }
  if (isWrongArchitecture(request, load)) return RejectionReason::kWrongArchitecture;
  if (missingTrait(request, load) != nullptr) return RejectionReason::kMissingTrait;
  if (missingTag(request, load) != nullptr) return RejectionReason::kMissingTag;
  return std::nullopt;
}

std::optional<RejectionReason> checkCapacity(const PlacementRequest& request, const HostLoad& load) {
  const HostFacts& facts = load.host.facts;
  if (load.host.sandboxCount >= request.rules.maxSandboxesPerHost) return RejectionReason::kTooManySandboxes;
  if (const auto reason = checkDisk(request, load)) return reason;
  if (load.memoryBytes + request.resources.memoryBytes > facts.memoryBytes) return RejectionReason::kNoMemory;
  if (request.resources.cpuMillis > facts.cpuCount * 1000ULL ||
      load.cpuMillis + request.resources.cpuMillis > cpuCapacity(request, load)) {
    return RejectionReason::kNoCpu;
  }
  return std::nullopt;
}

std::optional<RejectionReason> checkRotation(const PlacementRequest& request, const HostLoad& load) {
  if (load.host.cordoned) return RejectionReason::kCordoned;
  const HostTrial& trial = load.host.trial;
  if (!trial.restsUntil || request.choice == HostChoice::kNamed) return std::nullopt;
  if (request.now < *trial.restsUntil) return RejectionReason::kResting;
  if (load.beingTried) return RejectionReason::kBeingTried;
  return std::nullopt;
}

std::optional<RejectionReason> findObstacle(const PlacementRequest& request, const HostLoad& load) {
  if (const auto reason = checkHost(request, load)) return reason;
  if (const auto reason = checkCapacity(request, load)) return reason;
  return checkRotation(request, load);
}

std::string describeTag(const PlacementRequest& request, const HostLoad& load) {
  const auto* tag = missingTag(request, load);
  const auto found = load.host.tags.find(tag->first);
  if (found == load.host.tags.end()) return fmt::format("it lacks the tag {}", tag->first);
  return fmt::format("its tag {} is \"{}\", not \"{}\"", tag->first, found->second, tag->second);
}

std::string describeCpu(const PlacementRequest& request, const HostLoad& load) {
  const auto count = load.host.facts.cpuCount;
  if (request.resources.cpuMillis > count * 1000ULL) return fmt::format("it has {} CPUs, fewer than asked for", count);
  return fmt::format("{:.1f} CPUs are promised to sandboxes, {} for each of its {} are the limit",
                     static_cast<double>(load.cpuMillis) / 1000, request.rules.cpuOvercommit, count);
}

std::string describe(RejectionReason reason, const PlacementRequest& request, const HostLoad& load) {
  const HostRecord& host = load.host;
  const auto* runtime = findRuntime(load, request.runtime);
  const auto because = [&](std::string_view otherwise) {
    return runtime == nullptr || runtime->reason.empty() ? std::string(otherwise) : runtime->reason;
  };
  switch (reason) {
    case RejectionReason::kHostRemoved: return "the host was removed";
    case RejectionReason::kOtherCluster: return "the host is in another cluster";
    case RejectionReason::kNotConnected:
      return host.lastSeenAt ? "disconnected, last heard at " + formatTime(*host.lastSeenAt) : "it never connected";
    case RejectionReason::kRuntimeComingSoon: return fmt::format("runtime {} is coming soon", request.runtime);
    case RejectionReason::kRuntimeAbsent:
      return fmt::format("runtime {} is absent: {}", request.runtime, because("not installed"));
    case RejectionReason::kRuntimeUnhealthy:
      return fmt::format("runtime {} is unhealthy: {}", request.runtime, because("it does not answer"));
    case RejectionReason::kWrongArchitecture:
      return fmt::format("its architecture is {}, the blueprint's is {}", host.facts.architecture, request.architecture);
    case RejectionReason::kMissingTrait: return fmt::format("it lacks the trait {}", *missingTrait(request, load));
    case RejectionReason::kMissingTag: return describeTag(request, load);
    case RejectionReason::kTooManySandboxes:
      return fmt::format("it has {} sandboxes, at most {} are allowed on one host", host.sandboxCount,
                         request.rules.maxSandboxesPerHost);
    case RejectionReason::kDiskLow: return diskCondition(load)->message;
    case RejectionReason::kNoDisk:
      return fmt::format("{} MiB of its disk are free, the blueprint has {} MiB",
                         host.telemetry.diskFreeBytes / kMebibyte, request.blueprintBytes / kMebibyte);
    case RejectionReason::kNoMemory:
      return fmt::format("{} MiB of its {} MiB of memory are promised to sandboxes, {} MiB more do not fit",
                         load.memoryBytes / kMebibyte, host.facts.memoryBytes / kMebibyte,
                         request.resources.memoryBytes / kMebibyte);
    case RejectionReason::kNoCpu: return describeCpu(request, load);
    case RejectionReason::kCordoned: return "it is cordoned: no new sandboxes are placed on it";
    case RejectionReason::kResting:
      return fmt::format("its last {} creations failed; it is tried again at {}", host.trial.failures,
                         formatTime(*host.trial.restsUntil));
    case RejectionReason::kBeingTried:
      return fmt::format("its last {} creations failed; one sandbox is being tried on it now", host.trial.failures);
  }
  return {};
}

// How full the host would be, in millionths: of what is scarcest there, and of everything together to tell equals apart.
struct Fullness {
  std::uint64_t most = 0;
  std::uint64_t sum = 0;
};

Fullness fullnessWith(const PlacementRequest& request, const HostLoad& load) {
  const std::uint64_t weight = load.holdsBlueprint ? 1 : kWeightUncached;
  Fullness out;
  const auto add = [&](std::uint64_t promised, std::uint64_t more, std::uint64_t capacity) {
    const auto share = static_cast<std::uint64_t>(1e6 * static_cast<double>(promised + weight * more) /
                                                  static_cast<double>(std::max<std::uint64_t>(capacity, 1)));
    out.most = std::max(out.most, share);
    out.sum += share;
  };
  add(load.memoryBytes, request.resources.memoryBytes, load.host.facts.memoryBytes);
  add(load.cpuMillis, request.resources.cpuMillis, cpuCapacity(request, load));
  add(static_cast<std::uint64_t>(load.host.sandboxCount), 1, static_cast<std::uint64_t>(request.rules.maxSandboxesPerHost));
  return out;
}

}  // namespace

std::string_view rejectionReasonName(RejectionReason reason) {
  switch (reason) {
    case RejectionReason::kHostRemoved: return "host_removed";
    case RejectionReason::kOtherCluster: return "other_cluster";
    case RejectionReason::kNotConnected: return "not_connected";
    case RejectionReason::kRuntimeComingSoon: return "runtime_coming_soon";
    case RejectionReason::kRuntimeAbsent: return "runtime_absent";
    case RejectionReason::kRuntimeUnhealthy: return "runtime_unhealthy";
    case RejectionReason::kWrongArchitecture: return "wrong_architecture";
    case RejectionReason::kMissingTrait: return "missing_trait";
    case RejectionReason::kMissingTag: return "missing_tag";
    case RejectionReason::kTooManySandboxes: return "too_many_sandboxes";
    case RejectionReason::kDiskLow: return "disk_low";
    case RejectionReason::kNoDisk: return "no_disk";
    case RejectionReason::kNoMemory: return "no_memory";
    case RejectionReason::kNoCpu: return "no_cpu";
    case RejectionReason::kCordoned: return "cordoned";
    case RejectionReason::kResting: return "resting";
    case RejectionReason::kBeingTried: return "being_tried";
  }
  return "not_connected";
}

std::optional<Rejection> explainRejection(const PlacementRequest& request, const HostLoad& load) {
  const auto reason = findObstacle(request, load);
  if (!reason) return std::nullopt;
  return Rejection{load.host.id, load.host.name, *reason, describe(*reason, request, load)};
}

std::optional<Rejection> explainReplacement(const PlacementRequest& request, const HostLoad& load) {
  const auto reason = isWrongArchitecture(request, load) ? RejectionReason::kWrongArchitecture : checkDisk(request, load);
  if (!reason) return std::nullopt;
  return Rejection{load.host.id, load.host.name, *reason, describe(*reason, request, load)};
}

std::vector<Rejection> explainRejections(const PlacementRequest& request, const std::vector<HostLoad>& hosts) {
  std::vector<Rejection> out;
  for (const auto& load : hosts) {
    if (auto rejection = explainRejection(request, load)) out.push_back(std::move(*rejection));
  }
  return out;
}

std::optional<std::size_t> chooseHost(const PlacementRequest& request, const std::vector<HostLoad>& hosts) {
  std::optional<std::size_t> best;
  Fullness least;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (findObstacle(request, hosts[i])) continue;
    const Fullness fullness = fullnessWith(request, hosts[i]);
    if (best && std::tie(fullness.most, fullness.sum, hosts[i].host.id) >= std::tie(least.most, least.sum, hosts[*best].host.id)) {
      continue;
    }
    best = i;
    least = fullness;
  }
  return best;
}

std::string suggestFix(const std::vector<Rejection>& rejections) {
  if (rejections.empty()) return "enroll a host: gstacks token create, then gstacks-agent enroll";
  // The rejection that is least work to mend: the later a rule, the closer the host was to fitting.
  const auto nearest = std::max_element(rejections.begin(), rejections.end(), [](const auto& a, const auto& b) {
    return a.reason < b.reason;
  });
  switch (nearest->reason) {
    case RejectionReason::kNotConnected:
      return fmt::format("start gstacks-agent on host {}, or enroll another host", nearest->hostName);
    case RejectionReason::kRuntimeAbsent:
    case RejectionReason::kRuntimeUnhealthy:
      return fmt::format("make the runtime on host {} answer, or enroll another host", nearest->hostName);
    case RejectionReason::kTooManySandboxes: return "delete sandboxes, or enroll another host";
    case RejectionReason::kNoMemory:
      return "delete sandboxes, ask for less memory, or enroll another host";
    case RejectionReason::kNoCpu: return "ask for fewer CPUs, delete sandboxes, or enroll a larger host";
    case RejectionReason::kDiskLow:
    case RejectionReason::kNoDisk: return fmt::format("free disk space on host {}", nearest->hostName);
    case RejectionReason::kCordoned: return fmt::format("gstacks host uncordon {}, or enroll another host", nearest->hostName);
    case RejectionReason::kResting:
    case RejectionReason::kBeingTried:
      return fmt::format("see why sandboxes fail on host {}; gstacks host uncordon {} takes it back at once",
                         nearest->hostName, nearest->hostName);
    default: return "change what is required, or enroll a host that has it";
  }
}

}  // namespace gs

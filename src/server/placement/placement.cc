#include "server/placement/placement.h"

namespace gs {
namespace {

struct Finding {
  RejectionReason reason;
  std::string detail;
};

constexpr std::uint64_t kMebibyte = 1ULL << 20;

std::optional<Finding> checkHost(const PlacementRequest& request, const HostRecord& host) {
  if (host.state == HostState::kRevoked) return Finding{RejectionReason::kHostRemoved, "the host was removed"};
  if (host.clusterId != request.cluster) {
    return Finding{RejectionReason::kOtherCluster, "the host is in another cluster"};
  }
  if (host.state != HostState::kConnected) {
    return Finding{RejectionReason::kNotConnected,
                   host.lastSeenAt ? "disconnected, last heard at " + formatTime(*host.lastSeenAt)
                                   : std::string("it never connected")};
  }
  return std::nullopt;
}

std::optional<Finding> checkRuntime(const PlacementRequest& request, const HostRecord& host) {
  const auto& runtimes = host.facts.runtimes;
  const auto found = std::find_if(runtimes.begin(), runtimes.end(),
                                  [&](const RuntimeHealth& each) { return each.name == request.runtime; });
  const auto state = found == runtimes.end() ? RuntimeState::kAbsent : found->state;
  const auto because = [&](std::string_view otherwise) {
    return found == runtimes.end() || found->reason.empty() ? std::string(otherwise) : found->reason;
  };
  switch (state) {
    case RuntimeState::kHealthy: return std::nullopt;
    case RuntimeState::kComingSoon:
      return Finding{RejectionReason::kRuntimeComingSoon, fmt::format("runtime {} is coming soon", request.runtime)};
    case RuntimeState::kAbsent:
      return Finding{RejectionReason::kRuntimeAbsent,
                     fmt::format("runtime {} is absent: {}", request.runtime, because("not installed"))};
    case RuntimeState::kUnhealthy:
      return Finding{RejectionReason::kRuntimeUnhealthy,
                     fmt::format("runtime {} is unhealthy: {}", request.runtime, because("it does not answer"))};
  }
  return std::nullopt;
}

std::optional<Finding> checkLabels(const PlacementRequest& request, const HostRecord& host) {
  if (!request.architecture.empty() && host.facts.architecture != request.architecture) {
    return Finding{RejectionReason::kWrongArchitecture,
                   fmt::format("its architecture is {}, the blueprint's is {}", host.facts.architecture,
                               request.architecture)};
  }
  for (const auto& trait : request.traits) {
    if (std::find(host.facts.traits.begin(), host.facts.traits.end(), trait) == host.facts.traits.end()) {
      return Finding{RejectionReason::kMissingTrait, fmt::format("it lacks the trait {}", trait)};
    }
  }
  for (const auto& [key, value] : request.tags) {
    const auto found = host.tags.find(key);
    if (found == host.tags.end()) return Finding{RejectionReason::kMissingTag, fmt::format("it lacks the tag {}", key)};
    if (found->second != value) {
      return Finding{RejectionReason::kMissingTag,
                     fmt::format("its tag {} is \"{}\", not \"{}\"", key, found->second, value)};
    }
  }
  return std::nullopt;
}

std::optional<Finding> checkCapacity(const PlacementRequest& request, const HostLoad& load) {
  const HostFacts& facts = load.host.facts;
  for (const auto& condition : facts.conditions) {
    if (condition.code == "disk_low") return Finding{RejectionReason::kDiskLow, condition.message};
  }
  if (load.memoryBytes + request.resources.memoryBytes > facts.memoryBytes) {
    return Finding{RejectionReason::kNoMemory,
                   fmt::format("{} MiB of its {} MiB of memory are promised to sandboxes, {} MiB more do not fit",
                               load.memoryBytes / kMebibyte, facts.memoryBytes / kMebibyte,
                               request.resources.memoryBytes / kMebibyte)};
  }
  if (request.resources.cpuMillis > facts.cpuCount * 1000ULL) {
    return Finding{RejectionReason::kNoCpu, fmt::format("it has {} CPUs, fewer than asked for", facts.cpuCount)};
  }
  return std::nullopt;
}

bool isBetter(const HostLoad& a, const HostLoad& b) {
  return std::tie(a.host.sandboxCount, a.host.id) < std::tie(b.host.sandboxCount, b.host.id);
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
    case RejectionReason::kDiskLow: return "disk_low";
    case RejectionReason::kNoMemory: return "no_memory";
    case RejectionReason::kNoCpu: return "no_cpu";
  }
  return "not_connected";
}

std::optional<Rejection> explainRejection(const PlacementRequest& request, const HostLoad& load) {
  auto finding = checkHost(request, load.host);
  if (!finding) finding = checkRuntime(request, load.host);
  if (!finding) finding = checkLabels(request, load.host);
  if (!finding) finding = checkCapacity(request, load);
  if (!finding) return std::nullopt;
  return Rejection{load.host.id, load.host.name, finding->reason, std::move(finding->detail)};
}

PlacementVerdict chooseHost(const PlacementRequest& request, const std::vector<HostLoad>& hosts) {
  PlacementVerdict verdict;
  const HostLoad* best = nullptr;
  for (const auto& load : hosts) {
    if (auto rejection = explainRejection(request, load)) {
      verdict.rejections.push_back(std::move(*rejection));
    } else if (best == nullptr || isBetter(load, *best)) {
      best = &load;
    }
  }
  if (best != nullptr) verdict.chosen = best->host.id;
  return verdict;
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
    case RejectionReason::kNoMemory:
      return "delete sandboxes, ask for less memory, or enroll another host";
    case RejectionReason::kNoCpu: return "ask for fewer CPUs, or enroll a larger host";
    case RejectionReason::kDiskLow: return fmt::format("free disk space on host {}", nearest->hostName);
    default: return "change what is required, or enroll a host that has it";
  }
}

}  // namespace gs

// Which host a new sandbox goes to, and why the others cannot have it.
//
// Pure: hosts in, verdict out. The caller reads the hosts and records the choice. Rules are checked in the order of
// RejectionReason, the first that fails is the one that is told, because that is the one to mend first.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/core/records.h"

namespace gs {

enum class RejectionReason : std::uint8_t {
  kHostRemoved,
  kOtherCluster,
  kNotConnected,
  kRuntimeComingSoon,
  kRuntimeAbsent,
  kRuntimeUnhealthy,
  kWrongArchitecture,
  kMissingTrait,
  kMissingTag,
  kDiskLow,
  kNoMemory,  // what its sandboxes may use together would be more than the host has
  kNoCpu,     // a single sandbox cannot use more CPUs than the host has; together they may
};
[[nodiscard]] std::string_view rejectionReasonName(RejectionReason reason);  // "not_connected"

struct PlacementRequest {
  ClusterId cluster;
  std::string runtime = "docker";
  std::string architecture;
  std::vector<std::string> traits;
  std::map<std::string, std::string> tags;
  Resources resources;
};

struct Rejection {
  HostId host;
  std::string hostName;
  RejectionReason reason = RejectionReason::kNotConnected;
  std::string detail;  // a sentence for people
};

struct PlacementVerdict {
  std::optional<HostId> chosen;
  std::vector<Rejection> rejections;  // one for each host that does not fit, in the order of the hosts
};

// Of the hosts that fit, the one with the fewest sandboxes; of those the one with the lowest id.
[[nodiscard]] PlacementVerdict chooseHost(const PlacementRequest& request, const std::vector<HostLoad>& hosts);
// Nothing when the host fits.
[[nodiscard]] std::optional<Rejection> explainRejection(const PlacementRequest& request, const HostLoad& host);
// What to do about it, from the rejections; empty when nothing general can be said.
[[nodiscard]] std::string suggestFix(const std::vector<Rejection>& rejections);

}  // namespace gs

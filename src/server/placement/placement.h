// Which host a new sandbox goes to, and why the others cannot have it.
//
// Pure: hosts in, verdict out. The caller reads the hosts and records the choice, both in one transaction, so that what
// was accepted counts for the next decision. Rules are checked in the order of RejectionReason, the first that fails is
// the one that is told, because that is the one to mend first. Choosing makes no texts: they are made when nothing fits.
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
  kTooManySandboxes,
  kDiskLow,     // the host says that its disk reserve is touched
  kNoDisk,      // the blueprint is larger than what is free, and not known to be there already
  kNoMemory,    // what its sandboxes may use together would be more than the host has: memory is never promised twice
  kNoCpu,       // one sandbox cannot use more CPUs than the host has; together they may be promised more
  kCordoned,    // an operator wants no new sandboxes there
  kResting,     // its last creations failed
  kBeingTried,  // its rest is over; one sandbox at a time shows whether it works again
};
[[nodiscard]] std::string_view rejectionReasonName(RejectionReason reason);  // "not_connected"

struct PlacementRules {
  // CPU limits only slow down when they meet, so they may be promised many times over.
  std::uint32_t cpuOvercommit = 16;
  std::int64_t maxSandboxesPerHost = 1000;
};

// Whether somebody named the host. One that was named is used although its last creations failed: that may be the
// operator's own probe.
enum class HostChoice : std::uint8_t { kAny, kNamed };

struct PlacementRequest {
  ClusterId cluster;
  std::string runtime = "docker";
  std::string architecture;
  std::vector<std::string> traits;
  std::map<std::string, std::string> tags;
  Resources resources;
  std::uint64_t blueprintBytes = 0;
  HostChoice choice = HostChoice::kAny;
  WallTime now{};
  PlacementRules rules;
};

struct Rejection {
  HostId host;
  std::string hostName;
  RejectionReason reason = RejectionReason::kNotConnected;
  std::string detail;  // a sentence for people
};

// Of the hosts that fit, the one that would be least full afterwards, by its scarcest of memory, CPU and places. Where the
// blueprint is not known to be there already the sandbox weighs three times as much, so that one is preferred that has
// it, until it is fuller by two such sandboxes. Among equals the lowest id. Nothing: none fits. Index into `hosts`.
[[nodiscard]] std::optional<std::size_t> chooseHost(const PlacementRequest& request, const std::vector<HostLoad>& hosts);
// Nothing when the host fits.
[[nodiscard]] std::optional<Rejection> explainRejection(const PlacementRequest& request, const HostLoad& host);
// Whether a sandbox that lives on this host can get a fresh root file system there: of its architecture, with room for
// the blueprint. What else a placement asks was asked when it came. Nothing: it can.
[[nodiscard]] std::optional<Rejection> explainReplacement(const PlacementRequest& request, const HostLoad& host);
// One for each host that does not fit, in the order of the hosts.
[[nodiscard]] std::vector<Rejection> explainRejections(const PlacementRequest& request, const std::vector<HostLoad>& hosts);
// What to do about it, from the rejections; empty when nothing general can be said.
[[nodiscard]] std::string suggestFix(const std::vector<Rejection>& rejections);

}  // namespace gs

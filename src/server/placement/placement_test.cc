#include "server/placement/placement.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

const ClusterId kCluster = ClusterId::trusted("clu_00000000000000000001");

HostLoad fitting(std::string id = "hst_00000000000000000001", std::int64_t sandboxes = 0) {
  HostLoad load;
  load.host.id = HostId::trusted(std::move(id));
  load.host.name = "rack";
  load.host.clusterId = kCluster;
  load.host.state = HostState::kConnected;
  load.host.sandboxCount = sandboxes;
  load.host.tags = {{"zone", "a"}};
  load.host.facts.architecture = "amd64";
  load.host.facts.cpuCount = 2;
  load.host.facts.memoryBytes = 4ULL << 30;
  load.host.facts.traits = {"amd64", "docker", "linux"};
  load.host.facts.runtimes = {{"docker", RuntimeState::kHealthy, "20.10", ""},
                              {"sbx", RuntimeState::kComingSoon, "", "coming soon"}};
  return load;
}

HostTrial restingFrom(WallTime now) { return {3, now, now + kFirstRest}; }

PlacementRequest plain() {
  PlacementRequest request;
  request.cluster = kCluster;
  request.architecture = "amd64";
  return request;
}

TEST(Placement, ExplainsTheFirstRuleThatFails) {
  using Reason = RejectionReason;
  const struct {
    const char* why;
    std::function<void(PlacementRequest&, HostLoad&)> change;
    std::optional<Reason> reason;
    const char* detail;
  } rows[] = {
      {"nothing is wrong", [](auto&, auto&) {}, std::nullopt, ""},
      {"removed while it was looked at", [](auto&, auto& h) { h.host.state = HostState::kRevoked; }, Reason::kHostRemoved, "removed"},
      {"a host id from elsewhere", [](auto& r, auto&) { r.cluster = ClusterId::make(); }, Reason::kOtherCluster, "another cluster"},
      {"not heard", [](auto&, auto& h) { h.host.state = HostState::kDisconnected; }, Reason::kNotConnected, "never connected"},
      {"not heard for a while", [](auto&, auto& h) {
         h.host.state = HostState::kDisconnected;
         h.host.lastSeenAt = FakeClock().wallNow();
       }, Reason::kNotConnected, "2026-01-01T00:00:00.000Z"},
      {"what is not there yet", [](auto& r, auto&) { r.runtime = "sbx"; }, Reason::kRuntimeComingSoon, "coming soon"},
      {"never reported", [](auto& r, auto&) { r.runtime = "lxc"; }, Reason::kRuntimeAbsent, "not installed"},
      {"reported absent", [](auto&, auto& h) {
         h.host.facts.runtimes[0] = {"docker", RuntimeState::kAbsent, "", "no socket at /var/run/docker.sock"};
       }, Reason::kRuntimeAbsent, "no socket"},
      {"the runtime's own words", [](auto&, auto& h) {
         h.host.facts.runtimes[0] = {"docker", RuntimeState::kUnhealthy, "", "dockerd does not answer"};
       }, Reason::kRuntimeUnhealthy, "runtime docker is unhealthy: dockerd does not answer"},
      {"an image for other CPUs", [](auto& r, auto&) { r.architecture = "arm64"; }, Reason::kWrongArchitecture, "arm64"},
      {"a trait that is there", [](auto& r, auto&) { r.traits = {"docker"}; }, std::nullopt, ""},
      {"a trait that is not", [](auto& r, auto&) { r.traits = {"docker", "kvm"}; }, Reason::kMissingTrait, "kvm"},
      {"a tag that fits", [](auto& r, auto&) { r.tags = {{"zone", "a"}}; }, std::nullopt, ""},
      {"a tag with another value", [](auto& r, auto&) { r.tags = {{"zone", "b"}}; }, Reason::kMissingTag, "\"a\""},
      {"a tag that is not there", [](auto& r, auto&) { r.tags = {{"gpu", ""}}; }, Reason::kMissingTag, "gpu"},
      {"the disk reserve is touched", [](auto&, auto& h) {
         h.host.facts.conditions = {{"disk_low", "1 GiB is free", "free some"}};
       }, Reason::kDiskLow, "1 GiB is free"},
      {"another condition hinders nothing", [](auto&, auto& h) {
         h.host.facts.conditions = {{"clock_skew", "an hour ahead", ""}};
       }, std::nullopt, ""},
      {"exactly the rest of the memory", [](auto& r, auto& h) {
         h.memoryBytes = 3ULL << 30;
         r.resources.memoryBytes = 1ULL << 30;
       }, std::nullopt, ""},
      {"one byte more", [](auto& r, auto& h) {
         h.memoryBytes = 3ULL << 30;
         r.resources.memoryBytes = (1ULL << 30) + 1;
       }, Reason::kNoMemory, "3072 MiB of its 4096 MiB"},
      {"all of its CPUs", [](auto& r, auto&) { r.resources.cpuMillis = 2000; }, std::nullopt, ""},
      {"more CPUs than it has", [](auto& r, auto&) { r.resources.cpuMillis = 2001; }, Reason::kNoCpu, "2 CPUs"},
      {"exactly the rest of the CPU that may be promised", [](auto&, auto& h) { h.cpuMillis = 31'000; }, std::nullopt, ""},
      {"a thousandth more", [](auto&, auto& h) { h.cpuMillis = 31'001; }, Reason::kNoCpu, "31.0 CPUs are promised"},
      {"CPUs are promised once where the operator says so", [](auto& r, auto& h) {
         r.rules.cpuOvercommit = 1;
         h.cpuMillis = 1'001;
       }, Reason::kNoCpu, "1 for each"},
      {"the last place", [](auto&, auto& h) { h.host.sandboxCount = 999; }, std::nullopt, ""},
      {"no place left", [](auto&, auto& h) { h.host.sandboxCount = 1000; }, Reason::kTooManySandboxes, "at most 1000"},
      {"free disk that was never measured", [](auto& r, auto&) { r.blueprintBytes = 1; }, std::nullopt, ""},
      {"a blueprint larger than the free disk", [](auto& r, auto& h) {
         h.host.telemetry.diskFreeBytes = 1 << 20;
         r.blueprintBytes = (1 << 20) + 1;
       }, Reason::kNoDisk, "1 MiB of its disk"},
      {"the blueprint is there already", [](auto& r, auto& h) {
         h.host.telemetry.diskFreeBytes = 1 << 20;
         r.blueprintBytes = (1 << 20) + 1;
         h.holdsBlueprint = true;
       }, std::nullopt, ""},
      {"cordoned", [](auto&, auto& h) { h.host.cordoned = true; }, Reason::kCordoned, "cordoned"},
      {"cordoned holds for those who name it, too", [](auto& r, auto& h) {
         h.host.cordoned = true;
         r.choice = HostChoice::kNamed;
       }, Reason::kCordoned, "cordoned"},
      {"failures that are too few", [](auto&, auto& h) { h.host.trial.failures = 2; }, std::nullopt, ""},
      {"it rests", [](auto& r, auto& h) { h.host.trial = restingFrom(r.now); }, Reason::kResting, "last 3 creations failed"},
      {"it rests, but somebody wants just this one", [](auto& r, auto& h) {
         h.host.trial = restingFrom(r.now);
         r.choice = HostChoice::kNamed;
       }, std::nullopt, ""},
      {"its rest is over: this is the probe", [](auto& r, auto& h) {
         h.host.trial = restingFrom(r.now);
         r.now += kFirstRest;
       }, std::nullopt, ""},
      {"somebody else is the probe", [](auto& r, auto& h) {
         h.host.trial = restingFrom(r.now);
         r.now += kFirstRest;
         h.beingTried = true;
       }, Reason::kBeingTried, "being tried"},
      {"one on trial is nothing to a host in the rotation", [](auto&, auto& h) { h.beingTried = true; }, std::nullopt, ""},
      {"of two faults the one to mend first", [](auto& r, auto& h) {
         h.host.facts.runtimes.clear();
         r.traits = {"kvm"};
       }, Reason::kRuntimeAbsent, "docker"},
  };
  for (const auto& row : rows) {
    auto request = plain();
    auto host = fitting();
    row.change(request, host);
    const auto rejection = explainRejection(request, host);
    ASSERT_EQ(rejection.has_value(), row.reason.has_value()) << row.why << (rejection ? rejection->detail : "");
    if (!rejection) continue;
    EXPECT_EQ(rejection->reason, *row.reason) << row.why;
    EXPECT_NE(rejection->detail.find(row.detail), std::string::npos) << row.why << ": " << rejection->detail;
    EXPECT_FALSE(suggestFix({*rejection}).empty()) << row.why;
  }
}

TEST(Placement, AFreshRootAsksForArchitectureAndDiskOnly) {
  const auto reasonFor = [](auto&& change) {
    auto request = plain();
    auto host = fitting();
    change(request, host);
    const auto rejection = explainReplacement(request, host);
    return rejection ? std::optional(rejection->reason) : std::nullopt;
  };
  EXPECT_EQ(reasonFor([](auto&, auto&) {}), std::nullopt);
  EXPECT_EQ(reasonFor([](auto&, auto& host) { host.host.cordoned = true; host.host.state = HostState::kDisconnected; }), std::nullopt)
      << "it is there already";
  EXPECT_EQ(reasonFor([](auto&, auto& host) { host.memoryBytes = host.host.facts.memoryBytes; }), std::nullopt)
      << "its memory is promised to it already";
  EXPECT_EQ(reasonFor([](auto& request, auto&) { request.architecture = "arm64"; }), RejectionReason::kWrongArchitecture);
  EXPECT_EQ(reasonFor([](auto&, auto& host) { host.host.facts.conditions.push_back({"disk_low", "low", ""}); }),
            RejectionReason::kDiskLow);
  EXPECT_EQ(reasonFor([](auto& request, auto& host) {
              host.host.telemetry.diskFreeBytes = 1 << 20;
              request.blueprintBytes = 2 << 20;
            }),
            RejectionReason::kNoDisk);
}

TEST(Placement, TakesTheHostThatWillBeLeastFullThenTheLowestId) {
  auto gone = fitting("hst_00000000000000000000");
  gone.host.state = HostState::kDisconnected;
  auto busy = fitting("hst_00000000000000000001", 2);
  auto small = fitting("hst_00000000000000000002", 1);
  auto large = fitting("hst_00000000000000000003", 1);
  large.host.facts.memoryBytes *= 4;
  EXPECT_EQ(chooseHost(plain(), {gone, busy, small}), 2U) << "by count, where all else is equal";
  EXPECT_EQ(chooseHost(plain(), {gone, busy, small, large}), 3U) << "the same sandbox fills a large host less";
  EXPECT_EQ(chooseHost(plain(), {fitting("hst_00000000000000000005"), fitting("hst_00000000000000000004")}), 1U);
  const auto rejections = explainRejections(plain(), {gone, busy});
  ASSERT_EQ(rejections.size(), 1U);
  EXPECT_EQ(rejections[0].host, gone.host.id);
}

TEST(Placement, PrefersAHostThatHasTheBlueprintUntilItIsFullerByTwoSandboxes) {
  const auto without = fitting("hst_00000000000000000001");
  auto with = fitting("hst_00000000000000000002");
  with.holdsBlueprint = true;
  const auto holds = [&](std::uint64_t sandboxes) {
    auto host = with;
    host.host.sandboxCount = static_cast<std::int64_t>(sandboxes);
    host.memoryBytes = sandboxes * (512ULL << 20);
    host.cpuMillis = sandboxes * 1000;
    return chooseHost(plain(), {without, host}) == 1U;
  };
  EXPECT_TRUE(holds(0));
  EXPECT_TRUE(holds(1));
  EXPECT_FALSE(holds(2));
}

TEST(Placement, SaysWhatToDoWithoutHosts) {
  EXPECT_FALSE(chooseHost(plain(), {}));
  EXPECT_NE(suggestFix(explainRejections(plain(), {})).find("enroll"), std::string::npos);
}

}  // namespace
}  // namespace gs

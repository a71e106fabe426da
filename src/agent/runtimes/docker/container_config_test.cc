#include "agent/runtimes/docker/container_config.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>
#include <random>
#include <set>

namespace gs {
namespace {

ContainerPlan examplePlan() {
  ContainerPlan plan;
  plan.sandboxId = SandboxId::trusted("sbx_0123456789abcdefghjk");
  plan.hostId = HostId::trusted("hst_kjhgfedcba9876543210");
  plan.generation = 7;
  plan.spec.name = "builder";
  plan.spec.resources = {1500, 768ULL << 20, 300};
  plan.spec.command = {"make", "all"};
  plan.spec.env = {{"SECRET", "not in the container's config"}};
  plan.spec.user = "nobody";
  plan.spec.workingDir = "/src";
  plan.image = {"docker",
                "gstacks.local/blueprint:aa",
                Digest::of("manifest"),
                Digest::of("config"),
                {{"PATH=/bin"}, "/w", "65534", {"/entry"}, {"cmd"}}};
  plan.mounts = {"/var/lib/gstacks/agent/guest/gstacks-guest", "/run/gstacks/agent/sandboxes/sbx_0123456789abcdefghjk"};
  return plan;
}

TEST(ContainerConfig, IsTheGoldenText) {
  const auto config = containerConfig(examplePlan(), {"/.gstacks/guest"});
  std::ifstream file(GS_SOURCE_DIR "/tests/golden/docker/container_config.json");
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(config.dump(2) + "\n", golden);
}

// What must hold for every plan, whatever an assignment or an image says.
void expectSealed(const Json& config) {
  const auto& host = config["HostConfig"];
  EXPECT_EQ(host["NetworkMode"], "none");
  EXPECT_EQ(host["Privileged"], false);
  EXPECT_EQ(host["CapDrop"], Json::array({"ALL"}));
  EXPECT_EQ(host["SecurityOpt"], Json::array({"no-new-privileges:true"}));
  EXPECT_EQ(host["IpcMode"], "private");
  EXPECT_EQ(host["CgroupnsMode"], "private");
  EXPECT_EQ(host["RestartPolicy"]["Name"], "no");
  EXPECT_EQ(host["LogConfig"]["Type"], "none");
  EXPECT_EQ(host["Memory"], host["MemorySwap"]);
  EXPECT_GT(host["Memory"].get<std::uint64_t>(), 0u);
  EXPECT_GT(host["NanoCpus"].get<std::uint64_t>(), 0u);
  EXPECT_GT(host["PidsLimit"].get<std::uint64_t>(), 0u);
  EXPECT_GT(host["OomScoreAdj"].get<int>(), 0);
  EXPECT_EQ(host["Mounts"].size(), 2u);
  for (const auto& mount : host["Mounts"]) {
    EXPECT_EQ(mount["ReadOnly"], true);
    EXPECT_EQ(mount["Type"], "bind");
    EXPECT_TRUE(mount["Target"].get<std::string>().starts_with("/.gstacks/"));
  }
  for (const char* open : {"Binds", "Devices", "DeviceRequests", "DeviceCgroupRules", "VolumesFrom", "PidMode",
                           "UTSMode", "UsernsMode", "PortBindings", "PublishAllPorts", "Links", "MaskedPaths",
                           "ReadonlyPaths", "Runtime", "Sysctls", "CgroupParent", "GroupAdd", "ExtraHosts", "Dns"}) {
    EXPECT_FALSE(host.contains(open)) << open << " must stay at the engine's default";
  }
  EXPECT_EQ(config["Image"].get<std::string>().substr(0, 7), "sha256:");
  EXPECT_EQ(config["Entrypoint"], Json::array({"/.gstacks/guest"}));
  EXPECT_EQ(config["Cmd"], Json::array());
  EXPECT_EQ(config["User"], "0:0");
  EXPECT_EQ(config["Env"], Json::array());
  EXPECT_EQ(config["Healthcheck"]["Test"], Json::array({"NONE"}));
  EXPECT_FALSE(config.contains("Volumes"));
  EXPECT_FALSE(config.contains("ExposedPorts"));
}

TEST(ContainerConfig, StaysSealedForEveryPlan) {
  std::mt19937 random(4711);
  const auto word = [&] {
    static constexpr std::array kWords{"",          "--privileged", "host",       "0:0", "/var/run/docker.sock",
                                       "SYS_ADMIN", "\"},{\"",      "unconfined", "a=b", "\xff\xfe"};
    return std::string(kWords[random() % kWords.size()]);
  };
  for (int i = 0; i < 500; ++i) {
    auto plan = examplePlan();
    plan.spec.name = word();
    plan.spec.user = word();
    plan.spec.workingDir = word();
    plan.spec.runtime = word();
    plan.spec.command = {word(), word()};
    plan.spec.env = {{word(), word()}};
    plan.spec.resources = {100 + static_cast<std::uint32_t>(random() % 64'000), (16ULL << 20) + random(),
                           16 + static_cast<std::uint32_t>(random() % 32'000)};
    plan.image.image = {{word()}, word(), word(), {word()}, {word()}};
    plan.image.reference = word();
    expectSealed(containerConfig(plan, {"/.gstacks/guest"}));
  }
}

TEST(ContainerConfig, NeverMentionsTheWorkloadsEnvironment) {
  EXPECT_FALSE(containerConfig(examplePlan(), {"/x"}).dump().contains("not in the container"));
}

TEST(CapabilityChoices, CoverDockersDefaultsWithAReasonEach) {
  const std::set<std::string_view> defaults{
      "CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
      "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE"};
  std::set<std::string_view> seen;
  for (const auto& choice : capabilityChoices()) {
    EXPECT_TRUE(seen.insert(choice.name).second) << choice.name << " twice";
    EXPECT_TRUE(defaults.contains(choice.name)) << choice.name << " is more than Docker itself gives";
    EXPECT_GE(choice.why.size(), 20u) << choice.name;
  }
  EXPECT_EQ(seen, defaults);
}

}  // namespace
}  // namespace gs

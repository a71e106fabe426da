#include <gtest/gtest.h>

#include <unistd.h>

#include "agent/telemetry/host_probe.h"

namespace gs {
namespace {

TEST(HostProbe, ReadsOsReleaseWithAndWithoutQuotes) {
  EXPECT_EQ(parseOsRelease("PRETTY_NAME=\"x\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n"),
            (std::pair<std::string, std::string>("Debian GNU/Linux", "12")));
  EXPECT_EQ(parseOsRelease("NAME=Fedora\nVERSION_ID=40"), (std::pair<std::string, std::string>("Fedora", "40")));
  EXPECT_EQ(parseOsRelease(""), (std::pair<std::string, std::string>()));
}

TEST(HostProbe, ReadsMemInfoByWholeKey) {
  const std::string_view text = "MemTotal:       24682424 kB\nMemAvailable:   24000000 kB\n";
  EXPECT_EQ(parseMemInfo(text, "MemTotal"), 24682424ULL * 1024);
  EXPECT_EQ(parseMemInfo(text, "Mem"), 0U);
}

TEST(HostProbe, DropsTraitsThatAreNotWellFormed) {
  EXPECT_EQ(parseTraits("GPU, fast-disk  rack.7,,-bad,ü,a b"),
            (std::vector<std::string>{"gpu", "fast-disk", "rack.7", "a", "b"}));
}

TEST(HostProbe, ReadsLoadInThousandths) {
  EXPECT_EQ(parseLoad("0.52 1.05 12.30 1/234 5678"), (std::array<std::uint32_t, 3>{520, 1050, 12300}));
}

TEST(HostProbe, ReportsThisHost) {
  const HostProbe probe({"", "/", "my-trait"});
  const HostFacts facts = probe.readFacts();
  EXPECT_TRUE(facts.architecture == "amd64" || facts.architecture == "arm64");
  EXPECT_GT(facts.memoryBytes, 0U);
  EXPECT_GT(facts.diskBytes, 0U);
  EXPECT_FALSE(facts.bootId.empty());
  EXPECT_NE(std::ranges::find(facts.traits, "my-trait"), facts.traits.end());
  EXPECT_NE(std::ranges::find(facts.traits, "linux"), facts.traits.end());
  const HostTelemetry telemetry = probe.readTelemetry();
  EXPECT_GT(telemetry.agentRssBytes, 0U);
  EXPECT_GT(telemetry.uptimeSeconds, 0U);
}

}  // namespace
}  // namespace gs

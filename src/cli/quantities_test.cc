#include "cli/quantities.h"

#include <gtest/gtest.h>

#include "cli/progress.h"

namespace gs::cli {
namespace {

TEST(Bytes, UnderstandsWhatPeopleWrite) {
  const std::vector<std::pair<std::string_view, std::uint64_t>> rows{
      {"0", 0},
      {"1048576", 1 << 20},
      {"512MiB", 512ULL << 20},
      {"512 MiB", 512ULL << 20},
      {"512m", 512ULL << 20},  // as docker
      {"1.5GiB", 1536ULL << 20},
      {"2g", 2ULL << 30},
      {"1TiB", 1ULL << 40},
      {"1GB", 1'000'000'000},
      {"1kb", 1000},
      {"17b", 17},
      {".5k", 512},
      {"9007199254740992", 9007199254740992ULL},
  };
  for (const auto& [text, bytes] : rows) {
    const auto parsed = parseBytes(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(Bytes, RefusesTheRestAndSaysHow) {
  for (const std::string_view text :
       {"", "x", "-1", "1.2.3", "1 2", "5xb", "MiB", "1e9", "0x10", "99999999TiB", "1  MiB", "."}) {
    const auto parsed = parseBytes(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("512MiB"), std::string::npos) << text;
  }
}

TEST(Bytes, AreShownShort) {
  EXPECT_EQ(formatBytes(0), "0 B");
  EXPECT_EQ(formatBytes(1023), "1023 B");
  EXPECT_EQ(formatBytes(1024), "1 KiB");
  EXPECT_EQ(formatBytes(1536ULL << 20), "1.5 GiB");
  EXPECT_EQ(formatBytes((1ULL << 30) - 1), "1 GiB");  // not 1024 MiB
}

TEST(Cpu, IsInThousandths) {
  EXPECT_EQ(parseCpu("2").value(), 2000u);
  EXPECT_EQ(parseCpu("0.5").value(), 500u);
  EXPECT_EQ(parseCpu("250m").value(), 250u);
  EXPECT_EQ(parseCpu("1.2345").value(), 1235u);
  for (const std::string_view text : {"", "x", "-1", "1k", "99999999"}) EXPECT_FALSE(parseCpu(text)) << text;
  EXPECT_EQ(formatCpu(1500), "1.5");
  EXPECT_EQ(formatCpu(2000), "2");
  EXPECT_EQ(formatCpu(250), "0.25");
}

TEST(Duration, BareNumbersAreSeconds) {
  EXPECT_EQ(parseDuration("90").value(), Millis(90'000));
  EXPECT_EQ(parseDuration("1.5s").value(), Millis(1500));
  EXPECT_EQ(parseDuration("500ms").value(), Millis(500));
  EXPECT_EQ(parseDuration("10m").value(), Millis(600'000));
  EXPECT_EQ(parseDuration("24h").value(), Millis(86'400'000));
  EXPECT_EQ(parseDuration("7d").value(), Millis(7 * 86'400'000LL));
  for (const std::string_view text : {"", "s", "-1s", "1w", "1h30m", "99999999999d"})
    EXPECT_FALSE(parseDuration(text)) << text;
}

TEST(Duration, IsShownWithTwoUnitsAtMost) {
  EXPECT_EQ(formatDuration(Millis(0)), "0s");
  EXPECT_EQ(formatDuration(Millis(59'999)), "59s");
  EXPECT_EQ(formatDuration(Millis(725'000)), "12m 5s");
  EXPECT_EQ(formatDuration(Millis(3'600'000)), "1h");
  EXPECT_EQ(formatDuration(Millis(3 * 86'400'000LL + 4 * 3'600'000)), "3d 4h");
}

TEST(Age, ReadsAsPeopleSpeak) {
  const WallTime now = parseTime("2026-01-02T03:04:05.000Z").value();
  EXPECT_EQ(formatAge("2026-01-02T03:04:04.500Z", now), "just now");
  EXPECT_EQ(formatAge("2026-01-02T03:01:00.000Z", now), "3m ago");
  EXPECT_EQ(formatAge("2025-12-31T00:00:00.000Z", now), "2d ago");
  EXPECT_EQ(formatAge("2026-01-02T15:04:05.000Z", now), "in 12h");
  EXPECT_EQ(formatAge("", now), "");
  EXPECT_EQ(formatAge("yesterday", now), "yesterday");
  EXPECT_EQ(formatMoment("2026-01-02T03:01:00.000Z", now), "2026-01-02 03:01:00 UTC (3m ago)");
}

TEST(Progress, SaysHowMuchHowFastAndHowLong) {
  EXPECT_EQ(progressLine({"uploading", 128ULL << 20, 512ULL << 20, Millis(2000)}),
            "uploading  128 MiB of 512 MiB  25 %  64.0 MiB/s  7s left");
  EXPECT_EQ(progressLine({"uploading", 128ULL << 20, std::nullopt, Millis(2000)}), "uploading  128 MiB  64.0 MiB/s");
  EXPECT_EQ(progressLine({"uploading", 0, 512ULL << 20, Millis(0)}), "uploading  0 B of 512 MiB  0 %");
  EXPECT_EQ(progressLine({"uploading", 512ULL << 20, 512ULL << 20, Millis(1000)}),
            "uploading  512 MiB of 512 MiB  100 %  512.0 MiB/s");
}

TEST(Progress, BarFitsTheTerminal) {
  const ProgressSample half{"uploading", 256ULL << 20, 512ULL << 20, Millis(1000)};
  EXPECT_EQ(progressBar(half, 120),
            "[####################....................] uploading  256 MiB of 512 MiB  50 %  256.0 MiB/s  2s left");
  for (std::size_t columns = 1; columns < 150; ++columns)
    EXPECT_LT(progressBar(half, columns).size(), columns) << columns;
}

}  // namespace
}  // namespace gs::cli

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/logs/log_reader.h"
#include "agent/logs/log_writer.h"
#include "base/encoding.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

const std::string kRun(kLogRunBytes, 'a');
const std::string kOtherRun(kLogRunBytes, 'b');

class Logs : public ::testing::Test {
 protected:
  Logs() : folder_(fs::temp_directory_path() / ("gs-logs-" + toHex(randomBytes(6)))) {}
  ~Logs() override { fs::remove_all(folder_); }

  LogWriter open(LogLimits limits = {}) { return std::move(LogWriter::open(folder_, limits)).value(); }
  static Status put(LogWriter& writer, std::string_view text, std::int64_t timeMs = 1, LogKind kind = LogKind::kStdout) {
    return writer.append({kind, timeMs, writer.next(), text});
  }
  std::vector<LogEntry> readAll(const LogQuery& query = {}) {
    LogReader reader(folder_);
    EXPECT_TRUE(reader.seek(query));
    return reader.read(1 << 30).value();
  }
  std::string text(const LogQuery& query = {}) {
    std::string out;
    for (const auto& entry : readAll(query)) out += entry.data;
    return out;
  }
  std::string newest() const { return logFilePath(folder_, logFileNumbers(folder_).back()); }

  std::string folder_;
};

TEST(LogRecord, IsReadAsItWasWrittenAndNothingElseIs) {
  std::string bytes;
  appendLogRecord(bytes, {LogKind::kStderr, 1'700'000'000'123, 77, std::string_view("out\0\xff", 5)});
  EXPECT_EQ(toHex(bytes), "47534c3105000000020000007b68e5cf8b0100004d00000000000000" + toHex(bytes.substr(28, 4)) + "6f757400ff")
      << "the format is a contract";
  LogRecord record;
  std::size_t used = 0;
  ASSERT_EQ(parseLogRecord(bytes, record, used), LogParse::kRecord);
  EXPECT_EQ(used, bytes.size());
  EXPECT_EQ(record.kind, LogKind::kStderr);
  EXPECT_EQ(record.timeMs, 1'700'000'000'123);
  EXPECT_EQ(record.offset, 77U);
  EXPECT_EQ(record.data, std::string_view("out\0\xff", 5));
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_EQ(parseLogRecord(std::string_view(bytes).substr(0, cut), record, used), LogParse::kIncomplete) << cut;
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    auto damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    EXPECT_NE(parseLogRecord(damaged, record, used), LogParse::kRecord) << at;
  }
}

TEST_F(Logs, GivesBackWhatWasWrittenInOrder) {
  auto writer = open();
  ASSERT_TRUE(writer.begin(kRun));
  ASSERT_TRUE(put(writer, "one\n", 10));
  ASSERT_TRUE(put(writer, "two\n", 5, LogKind::kStderr));
  const auto entries = readAll();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[1].kind, LogKind::kStderr);
  EXPECT_EQ(entries[1].timeMs, 10) << "time does not go back";
  EXPECT_EQ(entries[1].end, (LogPosition{kRun, 8}));
  EXPECT_EQ(entries[0].lostBytes + entries[1].lostBytes, 0U);
}

TEST_F(Logs, GoesOnWhereItStoppedAndCutsWhatACrashHasLeft) {
  for (std::size_t cut = 1; cut < kLogHeaderBytes + 5; ++cut) {
    fs::remove_all(folder_);
    {
      auto writer = open();
      ASSERT_TRUE(writer.begin(kRun));
      ASSERT_TRUE(put(writer, "whole"));
      ASSERT_TRUE(put(writer, "torn!"));
    }
    fs::resize_file(newest(), fs::file_size(newest()) - cut);
    auto writer = open();
    EXPECT_EQ(writer.run(), kRun);
    ASSERT_EQ(writer.next(), 5U) << cut;
    ASSERT_TRUE(writer.begin(kRun));
    ASSERT_TRUE(put(writer, "again"));
    EXPECT_EQ(text(), "wholeagain");
  }
}

TEST_F(Logs, PassesOverAFileInWhichNothingCanBeRead) {
  {
    auto writer = open();
    ASSERT_TRUE(writer.begin(kRun));
    ASSERT_TRUE(put(writer, "kept"));
  }
  std::ofstream(logFilePath(folder_, 2)) << "no record";
  std::ofstream(logFilePath(folder_, 3)) << "";
  auto writer = open();
  EXPECT_EQ(writer.next(), 4U);
  ASSERT_TRUE(put(writer, " and more"));
  EXPECT_EQ(text(), "kept and more");
}

TEST_F(Logs, KeepsTheNewestWithinItsBoundAndSaysHowMuchIsMissing) {
  LogLimits limits{256 << 10, 4};
  auto writer = open(limits);
  ASSERT_TRUE(writer.begin(kRun));
  const std::string line(999, 'x');
  for (int n = 0; n < 1000; ++n) ASSERT_TRUE(put(writer, line + "\n"));
  EXPECT_EQ(logFileNumbers(folder_).size(), 4U);
  std::uint64_t bytes = 0;
  for (const auto number : logFileNumbers(folder_)) bytes += fs::file_size(logFilePath(folder_, number));
  EXPECT_LE(bytes, limits.bytes);
  EXPECT_GE(bytes, limits.bytes * 3 / 4 - 4096) << "no more is forgotten than must be";
  const auto entries = readAll();
  std::uint64_t kept = 0;
  for (const auto& entry : entries) kept += entry.data.size();
  EXPECT_EQ(entries.front().lostBytes + kept, 1'000'000U);
}

TEST_F(Logs, TellsWhatTheGuestHasForgotten) {
  auto writer = open();
  ASSERT_TRUE(writer.begin(kRun));
  ASSERT_TRUE(put(writer, "a"));
  ASSERT_TRUE(writer.append({LogKind::kStdout, 1, 101, "b"}));
  ASSERT_TRUE(writer.begin(kOtherRun));
  ASSERT_TRUE(writer.append({LogKind::kStdout, 1, 7, "c"}));
  const auto entries = readAll();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[1].lostBytes, 100U);
  EXPECT_EQ(entries[2].lostBytes, 7U) << "another run counts from its own beginning";
}

TEST_F(Logs, FindsTimesLinesAndPositions) {
  auto writer = open({256 << 10, 4});
  ASSERT_TRUE(writer.begin(kRun));
  ASSERT_TRUE(put(writer, "1\n2\n", 10));
  ASSERT_TRUE(put(writer, "3\n", 20));
  ASSERT_TRUE(writer.begin(kOtherRun));
  ASSERT_TRUE(put(writer, "4\n5", 30));
  struct Row {
    LogQuery query;
    std::string expected;
    const char* reason;
  };
  const Row rows[] = {
      {{}, "1\n2\n3\n4\n5", "everything"},
      {{20, {}, {}}, "3\n4\n5", "read then or later"},
      {{31, {}, {}}, "", "nothing is so new"},
      {{{}, 1, {}}, "5", "a line without its end is one"},
      {{{}, 4, {}}, "2\n3\n4\n5", "in the middle of a piece, and over runs"},
      {{{}, 99, {}}, "1\n2\n3\n4\n5", "more than there are"},
      {{{}, 0, {}}, "", "none"},
      {{20, 2, {}}, "4\n5", "the last of what is new enough"},
      {{{}, {}, {kRun, 3}}, "\n3\n4\n5", "in the middle of a piece"},
      {{{}, {}, {kRun, 6}}, "4\n5", "at the end of a run"},
      {{{}, {}, {kOtherRun, 3}}, "", "at the end of all"},
      {{31, 1, {kRun, 4}}, "3\n4\n5", "a position counts more than the others"},
      {{{}, {}, {std::string(kLogRunBytes, 'z'), 3}}, "1\n2\n3\n4\n5", "a run that is not kept any more"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(text(row.query), row.expected) << row.reason;
    for (const auto& entry : readAll(row.query)) EXPECT_EQ(entry.lostBytes, 0U) << row.reason;
  }
}

TEST_F(Logs, IsReadWhileItIsWrittenAndForgotten) {
  LogLimits limits{256 << 10, 2};
  auto writer = open(limits);
  ASSERT_TRUE(writer.begin(kRun));
  LogReader reader(folder_);
  ASSERT_TRUE(reader.seek({}));
  EXPECT_TRUE(reader.read(1).value().empty());
  std::string written, seen;
  std::uint64_t lost = 0;
  const auto take = [&] {
    while (true) {
      const auto entries = reader.read(10'000).value();
      if (entries.empty()) return;
      for (const auto& entry : entries) {
        lost += entry.lostBytes;
        seen += entry.data;
      }
    }
  };
  for (int n = 0; n < 2'000; ++n) {
    const auto line = fmt::format("{:099}\n", n);
    ASSERT_TRUE(put(writer, line));
    written += line;
    if (n < 1'000 || n % 500 == 0) take();
  }
  take();
  EXPECT_EQ(lost, 0U) << "it keeps the file that it reads open, and the next one is still there";
  EXPECT_EQ(seen, written);
  // Away for long, it learns what it missed.
  for (int n = 0; n < 10'000; ++n) ASSERT_TRUE(put(writer, fmt::format("{:099}\n", n)));
  const auto before = seen.size();
  take();
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(seen.size() - before + lost, 1'000'000U);
}

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include "guest/environment.h"
#include "guest/spawn.h"
#include "guest/text.h"
#include "guest/user_lookup.h"
#include "guest/workload_output.h"

namespace gs::guest {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "# a comment: not a line of seven fields\n"
    "broken line\n"
    "nouid:x:::::\n"
    "huge:x:4294967295:5:nobody may be -1:/:/bin/sh\n"
    "daemon:*:1:1::/usr/sbin:\n"
    "odd:x:1700:1700::/:not/absolute\n"
    "app:x:1000:1001:App,,,:/home/app:/bin/sh\n"
    "app2:x:1000:1002:same uid, later:/home/app2:/bin/sh\n"
    "1001:x:2000:2000:a name that looks like a number:/srv:/bin/sh\n"
    "relative:x:1500:1500::not/absolute:/bin/sh\n"
    "last:x:1600:1600::/last:/bin/sh";  // no newline at the end
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "audio:x:29:app,other\n"
    "video:x:44:other,app\n"
    "again:x:29:app\n"
    "prefix:x:50:apple,xapp\n"
    "broken\n"
    "staff:x:bad:app\n"
    "1001:x:3000:\n"
    "app:x:1001:";

struct LookupRow {
  std::string_view reason;
  std::string_view wanted;
  std::optional<User> expected;
};

TEST(FindUser, Table) {
  const LookupRow rows[] = {
      {"a name", "daemon", User{1, 1, {}, "daemon", "/usr/sbin"}},
      {"a name with supplementary groups, sorted and once each", "app", User{1000, 1001, {29, 44}, "app", "/home/app", "/bin/sh"}},
      {"a listed number is that user, the first one", "1000", User{1000, 1001, {29, 44}, "app", "/home/app", "/bin/sh"}},
      {"an unlisted number is taken with group 0", "4711", User{4711, 0, {}, "", "/"}},
      {"a name wins over a number", "1001", User{2000, 2000, {}, "1001", "/srv", "/bin/sh"}},
      {"a group that is asked for replaces all others", "app:video", User{1000, 44, {}, "app", "/home/app", "/bin/sh"}},
      {"numbers for both, unlisted", "70000:70001", User{70000, 70001, {}, "", "/"}},
      {"a group's name wins over a number", "app:1001", User{1000, 3000, {}, "app", "/home/app", "/bin/sh"}},
      {"only a group: root in it", ":audio", User{0, 29, {}, "", "/"}},
      {"the last line needs no newline", "last", User{1600, 1600, {}, "last", "/last", "/bin/sh"}},
      {"a shell that is no absolute path is none", "odd", User{1700, 1700, {}, "odd", "/", ""}},
      {"a home that is no absolute path is /", "relative", User{1500, 1500, {}, "relative", "/", "/bin/sh"}},
      {"empty is root without a name", "", User{}},
      {"unknown name", "nobody-here", std::nullopt},
      {"unknown group", "app:nogroup", std::nullopt},
      {"an empty group", "app:", std::nullopt},
      {"a line without a uid is no user", "nouid", std::nullopt},
      {"the shell is that of the entry", "root", User{0, 0, {}, "root", "/root", "/bin/bash"}},
      {"uid -1 means nobody to the kernel", "huge", std::nullopt},
      {"-1 by number", "4294967295", std::nullopt},
      {"beyond 32 bits", "4294967296", std::nullopt},
      {"negative", "-1", std::nullopt},
      {"a line of the wrong shape is no user", "broken line", std::nullopt},
      {"a group whose number is bad is no group", "app:staff", std::nullopt},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    const auto found = findUser(row.wanted, kPasswd, kGroup);
    ASSERT_EQ(found.has_value(), row.expected.has_value());
    if (found) {
      EXPECT_EQ(*found, *row.expected);
    }
  }
}

TEST(FindUser, SaysWhatIsMissingWithoutForeignBytes) {
  EXPECT_EQ(findUser("x\x1b[2J", kPasswd, kGroup).error(), "no user \"x\\x1b[2J\" in the sandbox's /etc/passwd");
  EXPECT_EQ(findUser("app:none", kPasswd, kGroup).error(), "no group \"none\" in the sandbox's /etc/group");
}

TEST(FindUser, BoundsTheNumberOfGroups) {
  std::string group;
  for (int gid = 5000; gid > 0; --gid) group += "g:x:" + std::to_string(gid) + ":app\n";
  EXPECT_EQ(findUser("app", kPasswd, group)->groups.size(), 1024U);
}

struct EnvRow {
  std::string_view reason;
  std::vector<std::string> shared;
  std::vector<std::string> own;
  User user;
  std::vector<std::string> expected;
};

TEST(MergeEnvironment, Table) {
  const std::string path = "PATH=" + std::string(kDefaultPath);
  const User root{0, 0, {}, "root", "/root"};
  const User number{4711, 0, {}, "", "/"};
  const EnvRow rows[] = {
      {"defaults", {}, {}, root, {path, "HOME=/root", "USER=root"}},
      {"a user without a name has no USER", {}, {}, number, {path, "HOME=/"}},
      {"own wins and keeps the place", {"A=1", "B=2"}, {"A=3"}, number, {"A=3", "B=2", path, "HOME=/"}},
      {"the later of two wins", {"A=1", "A=2"}, {}, number, {"A=2", path, "HOME=/"}},
      {"what is set is not defaulted", {"PATH=/x", "HOME=/h"}, {"USER=u"}, root, {"PATH=/x", "HOME=/h", "USER=u"}},
      {"an empty value is a value", {"PATH=", "HOME="}, {}, number, {"PATH=", "HOME="}},
      {"entries without a name are dropped", {"=x", "novalue", ""}, {"=y"}, number, {path, "HOME=/"}},
      {"the first equals sign counts", {"A=b=c"}, {}, number, {"A=b=c", path, "HOME=/"}},
      {"names are case sensitive", {"path=/x"}, {}, number, {"path=/x", path, "HOME=/"}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    EXPECT_EQ(mergeEnvironment(row.shared, row.own, row.user), row.expected);
  }
}

TEST(ProgramCandidates, FollowPathAsPosixSays) {
  using List = std::vector<std::string>;
  EXPECT_EQ(programCandidates("ls", "/bin:/usr/bin"), (List{"/bin/ls", "/usr/bin/ls"}));
  EXPECT_EQ(programCandidates("ls", "/bin::x"), (List{"/bin/ls", "./ls", "x/ls"}));
  EXPECT_EQ(programCandidates("ls", ""), (List{"./ls"}));
  EXPECT_EQ(programCandidates("./ls", "/bin"), (List{"./ls"}));
  EXPECT_EQ(programCandidates("/bin/ls", "/bin"), (List{"/bin/ls"}));
  EXPECT_EQ(programCandidates("ls", std::string(1000, ':')).size(), 64U);
}

struct SpecRow {
  std::string_view reason;
  LaunchSpec spec;
  bool accepted;
};

TEST(CheckLaunchSpec, Table) {
  const SpecRow rows[] = {
      {"plain", {{"true"}, {"A=b"}, "/tmp", "app"}, true},
      {"an empty argument is one", {{"echo", ""}, {}, "", ""}, true},
      {"no program", {{}, {}, "", ""}, false},
      {"a program without a name", {{""}, {}, "", ""}, false},
      {"as many arguments as allowed", {std::vector<std::string>(4096, "x"), {}, "", ""}, true},
      {"one more", {std::vector<std::string>(4097, "x"), {}, "", ""}, false},
      {"as many bytes as allowed", {{"x", std::string(48 * 1024 - 1, 'a')}, {}, "", ""}, true},
      {"one more byte", {{"x", std::string(48 * 1024, 'a')}, {}, "", ""}, false},
      {"a zero byte would cut the argument", {{"echo", std::string("a\0b", 3)}, {}, "", ""}, false},
      {"a variable without a name", {{"x"}, {"=v"}, "", ""}, false},
      {"a variable without a value", {{"x"}, {"v"}, "", ""}, false},
      {"too many variables", {{"x"}, std::vector<std::string>(1025, "A=b"), "", ""}, false},
      {"a relative directory", {{"x"}, {}, "tmp", ""}, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    EXPECT_EQ(!checkLaunchSpec(row.spec).has_value(), row.accepted);
  }
}

TEST(Quoted, CutsAndEscapes) {
  EXPECT_EQ(quoted("plain"), "\"plain\"");
  EXPECT_EQ(quoted("tab\there\xff"), "\"tab\\x09here\\xff\"");
  EXPECT_EQ(quoted("abcdef", 3), "\"abc\"…");
}

class KeptOutput : public ::testing::Test {
 protected:
  using Stream = WorkloadOutput::Stream;
  std::string text() const {
    std::string out;
    for (const auto& record : chunk_) out += record.data;
    return out;
  }

  EventLoop loop_;
  std::deque<WorkloadOutput::Record> chunk_;
  int answers_ = 0;
  WorkloadOutput output_{loop_, [this](std::deque<WorkloadOutput::Record> chunk) {
                           chunk_ = std::move(chunk);
                           ++answers_;
                         }};
};

TEST_F(KeptOutput, AnswersOnceForEachQuestionFromTheOffsetThatWasAskedFor) {
  output_.append(Stream::kStdout, "abc", 1);
  output_.append(Stream::kStderr, "def", 1);
  EXPECT_EQ(answers_, 0) << "nobody asked";
  output_.ask(0);
  EXPECT_EQ(text(), "abcdef");
  ASSERT_EQ(chunk_.size(), 2U);
  EXPECT_EQ(chunk_[1].offset, 3U);
  EXPECT_EQ(output_.taken(), 0U);
  output_.ask(1);
  EXPECT_EQ(text(), "bcdef") << "in the middle of a record, as after a crash of the agent";
  EXPECT_EQ(chunk_[0].offset, 1U);
  output_.ask(6);
  EXPECT_EQ(answers_, 2) << "there is nothing more";
  EXPECT_EQ(output_.taken(), 6U);
  EXPECT_EQ(output_.end(), 6U);
}

TEST_F(KeptOutput, ForgetsTheOldestWithinItsBoundAndSaysFromWhereItHasTheRest) {
  std::uint64_t written = 0;
  for (int n = 0; n < 100'000; ++n) {
    output_.append(n % 2 == 0 ? Stream::kStdout : Stream::kStderr, "x", n);
    ++written;
  }
  for (int n = 0; n < 100; ++n) {
    output_.append(Stream::kStdout, std::string(WorkloadOutput::kMaxRecordBytes, 'y'), n);
    written += WorkloadOutput::kMaxRecordBytes;
  }
  EXPECT_EQ(output_.end(), written);
  std::uint64_t next = 0, got = 0;
  for (int before = -1; before != answers_;) {
    before = answers_;
    output_.ask(next);
    if (before == answers_) break;
    std::size_t bytes = 0;
    for (const auto& record : chunk_) bytes += record.data.size();
    EXPECT_LE(bytes, WorkloadOutput::kMaxChunkBytes);
    next = chunk_.back().offset + chunk_.back().data.size();
    got += bytes;
  }
  EXPECT_EQ(next, written);
  EXPECT_LE(got, WorkloadOutput::kMaxKeptBytes);
  EXPECT_GE(got, WorkloadOutput::kMaxKeptBytes - 2 * WorkloadOutput::kMaxRecordBytes);
}

}  // namespace
}  // namespace gs::guest

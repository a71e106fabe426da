#include "agent/daemon/deletions_command.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "agent/daemon/agent_config.h"
#include "base/encoding.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

class DeletionsCommand : public ::testing::Test {
 protected:
  DeletionsCommand() : root_(fs::temp_directory_path() / ("gs-deletions-" + toHex(randomBytes(6)))), paths_(root_ / "state", root_ / "run") {
    fs::create_directories(paths_.stateDir());
  }
  ~DeletionsCommand() override { fs::remove_all(root_); }

  Result<AgentConfig> configFrom(const std::string& text) const {
    std::ofstream(root_ / "agent.yaml") << text;
    return loadAgentConfig(root_ / "agent.yaml", ConfigFile::kMustExist);
  }

  fs::path root_;
  AgentPaths paths_;
  const std::vector<HeldDestruction> held_{{SandboxId::trusted("sbx_00000000000000000000"), 2, "box"}};
};

TEST_F(DeletionsCommand, PassesAConfirmationOnOnce) {
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).value(), "") << "there is none";
  ASSERT_TRUE(answerOnHost(paths_, Destruction::kReleased, held_, fenceId(held_)));
  ASSERT_TRUE(answerOnHost(paths_, Destruction::kReleased, held_, fenceId(held_))) << "a repeat is the same";
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).value(), fenceId(held_));
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).value(), "");
}

TEST_F(DeletionsCommand, KeepsARejectionApartFromAConfirmation) {
  ASSERT_TRUE(answerOnHost(paths_, Destruction::kRefused, held_, fenceId(held_)));
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).value(), "");
  EXPECT_EQ(takeAnswer(paths_, Destruction::kRefused).value(), fenceId(held_));
  EXPECT_EQ(describeHeld({}, held_), "sbx_00000000000000000000  box  rejected\nno deletions are held\n");
}

TEST_F(DeletionsCommand, RefusesWhatIsNotHeldNow) {
  EXPECT_EQ(answerOnHost(paths_, Destruction::kReleased, held_, std::string(32, '0')).error().reason, "fence_changed");
  EXPECT_EQ(answerOnHost(paths_, Destruction::kReleased, {}, fenceId({})).error().reason, "fence_changed");
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).value(), "");
}

TEST_F(DeletionsCommand, TakesNothingThatOthersCouldHaveWritten) {
  std::ofstream(paths_.confirmedDeletions()) << fenceId(held_);
  ASSERT_EQ(::chmod(paths_.confirmedDeletions().c_str(), 0666), 0);
  EXPECT_EQ(takeAnswer(paths_, Destruction::kReleased).error().code, ErrorCode::kPermissionDenied);
  EXPECT_FALSE(fs::exists(paths_.confirmedDeletions())) << "it is not left to be complained of for ever";
  std::ofstream(root_ / "elsewhere") << fenceId(held_);
  fs::create_symlink(root_ / "elsewhere", paths_.confirmedDeletions());
  EXPECT_FALSE(takeAnswer(paths_, Destruction::kReleased));
}

TEST_F(DeletionsCommand, SaysWhatIsHeldAndHowToConfirmIt) {
  EXPECT_NE(describeHeld(held_, {}).find("--fence " + fenceId(held_)), std::string::npos);
  EXPECT_EQ(describeHeld({}, {}), "no deletions are held\n");
  const auto condition = deletionsHeld(held_, {});
  EXPECT_EQ(condition.code, "deletions_held");
  EXPECT_NE(condition.fix.find("gstacks host confirm-deletions"), std::string::npos);
  DeletionFenceLimits local;
  local.remote = RemoteConfirmation::kRefused;
  EXPECT_EQ(deletionsHeld(held_, local).fix.find("gstacks host confirm-deletions"), std::string::npos) << "it would be refused";
}

TEST_F(DeletionsCommand, ReadsTheHostsLimitsAndRefusesThoseOutOfBounds) {
  EXPECT_EQ(configFrom("{}").value().deletionFence.percent, 50U);
  const auto limits =
      configFrom("deletionFence: {percent: 10, atLeast: 3, windowSeconds: 5, remoteConfirmation: false}").value().deletionFence;
  EXPECT_EQ(limits.percent, 10U);
  EXPECT_EQ(limits.atLeast, 3U);
  EXPECT_EQ(limits.window, Millis(5000));
  EXPECT_EQ(limits.remote, RemoteConfirmation::kRefused);
  for (const char* bad : {"percent: 0", "percent: 101", "atLeast: 0", "windowSeconds: 0", "windowSeconds: 86401", "percnt: 5"}) {
    EXPECT_EQ(configFrom(fmt::format("deletionFence: {{{}}}", bad)).error().code, ErrorCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace gs

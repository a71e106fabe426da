#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/daemon/host_picture.h"
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/json.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

class CleanProvablyOurs : public ::testing::Test {
 protected:
  CleanProvablyOurs() : root_(fs::temp_directory_path() / ("gs-clean-" + toHex(randomBytes(6)))), paths_(root_ / "state", root_ / "run") {
    fs::create_directories(paths_.sandboxDir(id_));
    fs::create_directories(paths_.cacheDir() + "/tmp");
    std::ofstream(paths_.cacheDir() + "/tmp/half") << "x";
    std::ofstream(paths_.stateDir() + "/agent.db") << "x";
  }
  ~CleanProvablyOurs() override { fs::remove_all(root_); }

  fs::path root_;
  AgentPaths paths_;
  SandboxId id_ = SandboxId::trusted("sbx_00000000000000000000");
};

TEST_F(CleanProvablyOurs, TakesFoldersOfNobodyAndHalfDownloadsAndNothingElse) {
  const std::vector<Leak> leaks{{LeakKind::kRunDirWithoutRecord, id_.text(), "", {}},
                                {LeakKind::kCacheLeftover, "half", "", {}},
                                {LeakKind::kContainerWithoutRecord, id_.text(), "", {}},
                                {LeakKind::kUnusedImage, "gstacks.local/blueprint:aa", "", {}},
                                {LeakKind::kUnusedGuestBinary, paths_.stateDir() + "/agent.db", "", {}}};
  EXPECT_EQ(cleanProvablyOurs(paths_, leaks).size(), 2U);
  EXPECT_FALSE(fs::exists(paths_.sandboxDir(id_)));
  EXPECT_FALSE(fs::exists(paths_.cacheDir() + "/tmp/half"));
  EXPECT_TRUE(fs::exists(paths_.stateDir() + "/agent.db"));
}

TEST_F(CleanProvablyOurs, LeavesAFolderWhoseNameIsNoSandboxs) {
  EXPECT_TRUE(cleanProvablyOurs(paths_, {{LeakKind::kRunDirWithoutRecord, "../../state", "", {}}}).empty());
  EXPECT_TRUE(fs::exists(paths_.stateDir() + "/agent.db"));
}

TEST(LeaksAsJson, TellsLeaksAndNotesApart) {
  const auto text = leaksAsJson({{LeakKind::kStaleSocket, "sbx_x", "deaf", Millis(2'500)}, {LeakKind::kUnusedImage, "i", "", {}}});
  const auto json = parseJson(text);
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["leaks"][0]["kind"], "stale_socket");
  EXPECT_EQ((*json)["leaks"][0]["ageSeconds"], 2);
  EXPECT_EQ((*json)["notes"].size(), 1U);
}

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "agent/daemon/agent_database.h"
#include "agent/sandboxes/journal.h"
#include "async/run_task.h"
#include "base/encoding.h"
#include "base/json.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

class AgentDatabase : public ::testing::Test {
 protected:
  AgentDatabase() : root_(fs::temp_directory_path() / ("gs-agent-db-" + toHex(randomBytes(6)))), paths_(root_, root_ / "run") {
    fs::create_directories(root_);
  }
  ~AgentDatabase() override { fs::remove_all(root_); }

  Result<std::vector<SandboxRecord>> records() {
    GS_TRY(auto opened, openAgentDatabase(paths_));
    DatabaseThread thread(std::move(opened));
    Journal journal(thread);
    asio::io_context loop;
    return runTask(loop, journal.load());
  }
  bool setAside() const {
    return std::ranges::any_of(fs::directory_iterator(root_), [](const auto& entry) {
      return entry.path().filename().string().find(".damaged-") != std::string::npos;
    });
  }

  fs::path root_;
  AgentPaths paths_;
};

// tests/fixtures/<version>/: written by tests/fixtures/make.py with a build of that version.
TEST_F(AgentDatabase, OfEveryEarlierVersionOpensAndKeepsItsSandboxes) {
  std::size_t versions = 0;
  for (const auto& version : fs::directory_iterator(fs::path(GS_SOURCE_DIR) / "tests" / "fixtures")) {
    if (!fs::exists(version.path() / "agent.db")) continue;
    ++versions;
    fs::copy_file(version.path() / "agent.db", paths_.database(), fs::copy_options::overwrite_existing);
    std::ifstream in(version.path() / "expected.json");
    const auto expected = parseJson(std::string(std::istreambuf_iterator<char>(in), {}));
    ASSERT_TRUE(expected) << version.path();
    const auto held = records();
    ASSERT_TRUE(held) << version.path() << ": " << held.error().describe();
    std::size_t hosted = 0;
    for (const auto& sandbox : (*expected)["sandboxes"]) {
      // What is archived, or waits, is on no host.
      if (!sandbox.contains("hostId")) continue;
      ++hosted;
      const auto id = sandbox["id"].get<std::string>();
      const auto record = std::ranges::find(*held, id, [](const auto& r) { return r.assignment.sandboxId.text(); });
      ASSERT_NE(record, held->end()) << id;
      EXPECT_EQ(record->assignment.generation, sandbox["generation"].get<std::uint64_t>()) << id;
      EXPECT_EQ(record->observation.sequence, sandbox["sequence"].get<std::uint64_t>()) << id;
      EXPECT_EQ(sandboxStateName(record->observation.state), sandbox["state"].get<std::string>()) << id;
      EXPECT_EQ(record->assignment.spec.command, sandbox.value("command", std::vector<std::string>())) << id;
    }
    EXPECT_EQ(held->size(), hosted) << version.path();
    EXPECT_FALSE(setAside()) << version.path();
    for (const char* part : {"", "-wal", "-shm"}) fs::remove(paths_.database() + part);
  }
  EXPECT_GE(versions, 1U);
}

TEST_F(AgentDatabase, ThatIsGarbageIsSetAsideAndANewOneBegun) {
  std::ofstream(paths_.database()) << std::string(8192, 'x');
  const auto held = records();
  ASSERT_TRUE(held) << held.error().describe();
  EXPECT_TRUE(held->empty());
  EXPECT_TRUE(setAside());
  EXPECT_TRUE(records()) << "the new one opens again";
}

TEST_F(AgentDatabase, OfANewerVersionIsRefusedAndLeftAsItIs) {
  {
    auto opened = openAgentDatabase(paths_);
    ASSERT_TRUE(opened);
    ASSERT_TRUE(opened->execute("INSERT INTO schema_migrations (name, applied_at) VALUES ('journal_9999', 0)"));
  }
  EXPECT_EQ(openAgentDatabase(paths_).error().code, ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(setAside());
}

}  // namespace
}  // namespace gs

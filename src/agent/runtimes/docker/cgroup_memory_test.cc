#include "agent/runtimes/docker/cgroup_memory.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace gs {
namespace {

class CgroupMemory : public ::testing::Test {
 protected:
  CgroupMemory() {
    std::string name = ::testing::TempDir() + "gs-cgroup-XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~CgroupMemory() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, std::string_view text) {
    const std::filesystem::path full = root_ / path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  std::uint64_t count() { return oomKillsOf(7, {root_ / "proc", root_ / "cgroup"}); }

  std::filesystem::path root_;
};

TEST_F(CgroupMemory, CountsInVersion1) {
  put("proc/7/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n");
  put("cgroup/memory/docker/abc/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  EXPECT_EQ(count(), 3);
}

TEST_F(CgroupMemory, CountsInVersion2) {
  put("proc/7/cgroup", "0::/system.slice/docker-abc.scope\n");
  put("cgroup/system.slice/docker-abc.scope/memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n");
  EXPECT_EQ(count(), 1);
}

TEST_F(CgroupMemory, CountsNothingWhereNothingCanBeRead) {
  EXPECT_EQ(count(), 0);
  put("proc/7/cgroup", "garbage\n:::\n4:memory\n4:memory:/not/there\n");
  EXPECT_EQ(count(), 0);
  put("proc/7/cgroup", "4:memory:/x\n");
  put("cgroup/memory/x/memory.oom_control", "oom_kill nonsense\n");
  EXPECT_EQ(count(), 0);
  EXPECT_EQ(oomKillsOf(0), 0);
}

}  // namespace
}  // namespace gs

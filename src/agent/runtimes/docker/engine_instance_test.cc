#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "agent/runtimes/docker/engine_instance.h"

namespace gs {
namespace {

class EngineInstanceTest : public ::testing::Test {
 protected:
  EngineInstanceTest() : folder_(std::filesystem::temp_directory_path() / fmt::format("gs-instance-{}", ::getpid())) {
    std::filesystem::create_directories(folder_);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket().c_str(), socket().size());
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
  }
  ~EngineInstanceTest() override {
    ::close(listener_);
    std::filesystem::remove_all(folder_);
  }

  std::string socket() const { return folder_ / "d.sock"; }
  // A /proc in which this process has that name, and the engine is number 4711.
  EnginePlaces places(const std::string& listenerName) {
    const auto proc = folder_ / "proc";
    write(proc / std::to_string(::getpid()) / "comm", listenerName);
    write(proc / std::to_string(::getpid()) / "stat", statLine(listenerName, 100));
    write(proc / "sys/kernel/random/boot_id", "boot");
    return {proc, folder_ / "docker.pid"};
  }
  void engineServes(const std::string& name, int started) {
    write(folder_ / "docker.pid", "4711");
    write(folder_ / "proc/4711/comm", name);
    write(folder_ / "proc/4711/stat", statLine(name, started));
  }
  static std::string statLine(const std::string& name, int started) {
    return fmt::format("1 ({}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 9 0 {} 0 0", name, started);
  }
  static void write(const std::filesystem::path& path, const std::string& line) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << line << "\n";
  }

  std::filesystem::path folder_;
  int listener_ = -1;
};

TEST_F(EngineInstanceTest, IsTheProcessThatListensAndWhenItStarted) {
  const auto first = engineInstance(socket(), {});
  ASSERT_TRUE(first);
  EXPECT_NE(first->find(fmt::format(":{}:", ::getpid())), std::string::npos) << *first;
  EXPECT_EQ(*engineInstance(socket(), {}), *first) << "the same life, the same text, though nobody accepts";
  EXPECT_EQ(*engineInstance(socket(), places("dockerd (odd) name")), fmt::format("boot:{}:100", ::getpid()));
}

TEST_F(EngineInstanceTest, IsUnavailableWhenNobodyListens) {
  ::close(listener_);
  listener_ = -1;
  const auto gone = engineInstance(socket(), {});
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(gone.error().reason, "docker_unreachable");
  EXPECT_EQ(engineInstance(folder_ / "none", {}).error().code, ErrorCode::kUnavailable);
}

TEST_F(EngineInstanceTest, LooksBehindInitWhichHoldsTheSocketOfEveryEngine) {
  const auto where = places("systemd");
  EXPECT_EQ(*engineInstance(socket(), where), "") << "activated, and nobody knows by whom it is served";
  engineServes("dockerd", 200);
  EXPECT_EQ(*engineInstance(socket(), where), "boot:4711:200");
  engineServes("dockerd", 300);
  EXPECT_EQ(*engineInstance(socket(), where), "boot:4711:300") << "the same number in its next life";
  engineServes("nginx", 300);
  EXPECT_EQ(*engineInstance(socket(), where), "") << "a pid file that was left behind";
}

}  // namespace
}  // namespace gs

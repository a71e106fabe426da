// gstacks-guest: the first process of every sandbox.
//
// gstacks-guest [SOCKET]      SOCKET is where the agent listens, /.gstacks/run/agent.sock by default
// gstacks-guest --version

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "base/version.h"
#include "guest/sandbox_init.h"

namespace gs::guest {
namespace {

constexpr std::string_view kDefaultSocket = "/.gstacks/run/agent.sock";
constexpr const char* kOomScoreFile = "/proc/self/oom_score_adj";
// One above "never": the kernel must be able to end a guest that is itself what fills the memory.
constexpr std::string_view kProtectedOomScore = "-999";
// 512 execs of four descriptors each, and room.
constexpr rlim_t kOpenFiles = 4096;

// Descriptors 0..2 are taken, so that no socket or pipe of ours becomes a process's standard stream.
void ensureStdio() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (fd > STDERR_FILENO) ::close(fd);
  ::syscall(SYS_close_range, 3U, ~0U, 0);
}

// Everything is blocked and read from a signalfd. Dispositions are made default here once, so that what was ignored when
// we were started is not inherited by the sandbox's programs.
void takeOverSignals() {
  // By the kernel's own call: the C library refuses the two signals that it keeps for itself, and a parent may have left
  // them ignored. The kernel's record is four words, and all zero means default.
  constexpr std::array<std::uint64_t, 4> kDefault{};
  for (int number = 1; number < NSIG; ++number) ::syscall(SYS_rt_sigaction, number, kDefault.data(), nullptr, sizeof(std::uint64_t));
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
}

std::optional<int> readOomScore() {
  const UniqueFd file(::open(kOomScoreFile, O_RDONLY | O_CLOEXEC));
  std::array<char, 16> text{};
  const auto count = ::read(file.get(), text.data(), text.size());
  int value = 0;
  if (count <= 0 || std::from_chars(text.data(), text.data() + count, value).ec != std::errc()) return std::nullopt;
  return value;
}

// When a sandbox runs out of memory its workload should die, not the process that can tell. Gives the value that children
// must get back; nothing when there is nothing to undo.
std::optional<int> protectFromOom() {
  const auto before = readOomScore();
  const UniqueFd file(::open(kOomScoreFile, O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const auto written = ::write(file.get(), kProtectedOomScore.data(), kProtectedOomScore.size());
  const auto now = readOomScore();
  if (!before || !now || (*now == *before && *now >= 0)) return std::nullopt;
  return *before > 0 ? *before : 0;
}

std::optional<unsigned long> raiseOpenFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  const auto wanted = limit.rlim_max < kOpenFiles ? limit.rlim_max : kOpenFiles;
  if (limit.rlim_cur >= wanted) return std::nullopt;
  const auto before = std::exchange(limit.rlim_cur, wanted);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  return before;
}

// Root in the sandbox may rename the directory that the agent's directory is mounted in; a descriptor still leads there.
// It is kept for good. Without a usable /proc the path stays as it is.
std::string pinDirectory(const std::string& socketPath) {
  const auto slash = socketPath.rfind('/');
  if (slash == std::string::npos || slash == 0) return socketPath;
  const int folder = ::open(socketPath.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return socketPath;
  const auto pinned = "/proc/self/fd/" + std::to_string(folder);
  struct stat there{};
  struct stat wanted{};
  const bool same = ::stat(pinned.c_str(), &there) == 0 && ::fstat(folder, &wanted) == 0 &&
                    there.st_dev == wanted.st_dev && there.st_ino == wanted.st_ino;
  if (same) return pinned + socketPath.substr(slash);
  ::close(folder);
  return socketPath;
}

int run(int argc, char** argv) {
  const std::string_view argument = argc > 1 ? argv[1] : kDefaultSocket;
  if (argument == "--version") {
    std::printf("gstacks-guest %s\n", std::string(versionString()).c_str());
    return 0;
  }
  if (argc > 2 || argument.starts_with('-')) {
    std::fputs("usage: gstacks-guest [SOCKET] | --version\n", stderr);
    return 2;
  }
  ensureStdio();
  takeOverSignals();
  ::umask(022);
  InitSettings settings{.socketPath = pinDirectory(std::string(argument)),
                        .version = std::string(versionString().substr(0, 64)),
                        .childLimits = {.oomScoreAdj = protectFromOom(), .openFiles = raiseOpenFiles()}};
  // Orphans come to us as process 1 anyway; this makes it so when we are not.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // Keys of execs are in our memory: not for processes of the same user to read.
  ::prctl(PR_SET_DUMPABLE, 0);
  return SandboxInit(std::move(settings)).run();
}

}  // namespace
}  // namespace gs::guest

int main(int argc, char** argv) { return gs::guest::run(argc, argv); }

#include "guest/workload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace gs::guest {
namespace {

// Input that is at its end: /dev/null, or where the image has none (or something else of that name) an empty pipe.
UniqueFd openEmptyInput() {
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (null.isOpen() && ::fstat(null.get(), &status) == 0 && S_ISCHR(status.st_mode)) return null;
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  ::close(ends[1]);
  return UniqueFd(ends[0]);
}

}  // namespace

void Workload::start(const LaunchSpec& spec, std::span<const std::string> sharedEnv, const ChildLimits& limits, Outputs outputs) {
  if (phase_ != Phase::kNone) return;
  const auto input = openEmptyInput();
  const auto pid = startProcess(spec, sharedEnv, {input.get(), outputs.out, outputs.err}, limits);
  if (!pid) {
    refuse(pid.error().message);
    exit_.code = pid.error().exitCode;
    return;
  }
  phase_ = Phase::kRunning;
  pid_ = *pid;
  reaper_.expect(pid_, [this](ExitStatus status) { onExit(status); });
}

void Workload::refuse(std::string message) {
  phase_ = Phase::kExited;
  exit_.code = 126;
  startError_ = std::move(message);
}

void Workload::stop(Millis grace) {
  if (phase_ != Phase::kRunning) return;
  const auto at = std::chrono::steady_clock::now() + grace;
  if (killTimer_ != 0 && killAt_ <= at) return;
  if (killTimer_ == 0) ::kill(-pid_, SIGTERM);
  loop_.cancel(killTimer_);
  killAt_ = at;
  killTimer_ = loop_.after(grace, [this] { ::kill(-pid_, SIGKILL); });
}

void Workload::onExit(ExitStatus status) {
  loop_.cancel(killTimer_);
  phase_ = Phase::kExited;
  pid_ = 0;
  exit_ = status;
  exited_();
}

}  // namespace gs::guest

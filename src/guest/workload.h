// The one process that the sandbox is for. Its output goes where the caller says (workload_output.h).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "guest/event_loop.h"
#include "guest/reaper.h"
#include "guest/spawn.h"

namespace gs::guest {

class Workload {
 public:
  enum class Phase : std::uint8_t { kNone, kRunning, kExited };

  // `exited` is called when a process that did run has ended.
  Workload(EventLoop& loop, Reaper& reaper, std::function<void()> exited)
      : loop_(loop), reaper_(reaper), exited_(std::move(exited)) {}

  // Once. A failure to start is kExited with a start error, and `exited` is not called.
  struct Outputs {
    int out;
    int err;
  };
  void start(const LaunchSpec& spec, std::span<const std::string> sharedEnv, const ChildLimits& limits, Outputs outputs);
  // Instead of start(): it could not even be tried.
  void refuse(std::string message);
  // SIGTERM to the process group, SIGKILL when the grace is over. Repeat: the earlier end counts, and no second SIGTERM is
  // sent. Not running: no effect.
  void stop(Millis grace);

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const ExitStatus& exit() const { return exit_; }
  [[nodiscard]] const std::string& startError() const { return startError_; }

 private:
  void onExit(ExitStatus status);

  EventLoop& loop_;
  Reaper& reaper_;
  std::function<void()> exited_;
  Phase phase_ = Phase::kNone;
  pid_t pid_ = 0;
  ExitStatus exit_;
  std::string startError_;
  EventLoop::TimerId killTimer_ = 0;
  std::chrono::steady_clock::time_point killAt_;
};

}  // namespace gs::guest

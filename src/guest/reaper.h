// Collects every process that dies under us: our own, and the orphans that a first process inherits.
#pragma once

#include <sys/types.h>

#include <functional>
#include <unordered_map>

namespace gs::guest {

struct ExitStatus {
  int code = 0;    // meaningful when signal is 0
  int signal = 0;
  // What a shell would show: 128 + signal.
  [[nodiscard]] int shellCode() const { return signal != 0 ? 128 + signal : code; }
};

class Reaper {
 public:
  // Called once, from reap(), when `pid` has died. The callback may expect and forget others.
  void expect(pid_t pid, std::function<void(ExitStatus)> callback) { expected_[pid] = std::move(callback); }
  // Still reaped, nobody told. Unknown: no effect.
  void forget(pid_t pid) { expected_.erase(pid); }
  // On SIGCHLD, which stands for any number of deaths.
  void reap();

 private:
  std::unordered_map<pid_t, std::function<void(ExitStatus)>> expected_;
};

}  // namespace gs::guest

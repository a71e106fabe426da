#include "guest/reaper.h"

#include <sys/wait.h>

#include <utility>

namespace gs::guest {

void Reaper::reap() {
  int status = 0;
  while (true) {
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    auto found = expected_.extract(pid);
    if (found.empty()) continue;
    ExitStatus exit;
    if (WIFSIGNALED(status)) {
      exit.signal = WTERMSIG(status);
    } else {
      exit.code = WEXITSTATUS(status);
    }
    found.mapped()(exit);
  }
}

}  // namespace gs::guest

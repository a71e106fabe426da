// For tests: the real gstacks-guest as a child process, and a private folder for its socket.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/guest_channel/guest_channel.h"
#include "async/run_task.h"
#include "async/task_group.h"
#include "async/with_deadline.h"

namespace gs {

// Like runTask(), but returns when the task is over though the loop has more to do (the channel listens all the while).
template <class T>
T runWithin(asio::io_context& loop, Task<T> task) {
  using Held = std::conditional_t<std::is_void_v<T>, int, std::optional<T>>;
  Held result{};
  std::exception_ptr failure;
  const auto finish = [&](std::exception_ptr e) {
    failure = e;
    loop.stop();
  };
  if constexpr (std::is_void_v<T>) {
    asio::co_spawn(loop, std::move(task), finish);
  } else {
    asio::co_spawn(loop, std::move(task), [&](std::exception_ptr e, T value) {
      if (!e) result.emplace(std::move(value));
      finish(e);
    });
  }
  loop.run();
  loop.restart();
  if (failure) std::rethrow_exception(failure);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class GuestFolder {
 public:
  GuestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gs-guest-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~GuestFolder() { std::filesystem::remove_all(path_); }
  GuestFolder(const GuestFolder&) = delete;
  GuestFolder& operator=(const GuestFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string socketPath() const { return path_ + "/agent.sock"; }

 private:
  std::string path_;
};

// Killed and reaped with the object.
class GuestProcess {
 public:
  explicit GuestProcess(const std::string& socketPath) {
    const auto program = (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
                          "gstacks-guest").string();
    pid_ = ::fork();
    if (pid_ == 0) {
      // A test that is killed leaves no guest behind.
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execl(program.c_str(), program.c_str(), socketPath.c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~GuestProcess() { kill(); }
  GuestProcess(const GuestProcess&) = delete;
  GuestProcess& operator=(const GuestProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The exit code; -1 when a signal ended it.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }
  [[nodiscard]] long residentKib() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
    }
    return 0;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace gs

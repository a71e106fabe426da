#include "guest/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "guest/environment.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

constexpr std::size_t kMaxArguments = 4096;
constexpr std::size_t kMaxArgumentBytes = 48 * 1024;
constexpr std::size_t kMaxVariables = 1024;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;
constexpr mode_t kTerminalMode = 0620;

enum class Stage : int { kStdio, kTerminal, kUser, kDirectory, kProgram };

// Everything that the child reads, and the two words that it writes. Made before the clone.
struct ChildPlan {
  std::vector<const char*> candidates;
  std::vector<char*> argv;
  std::vector<char*> env;
  const char* workingDir = nullptr;
  const User* user = nullptr;
  bool ownsTerminal = false;
  Stdio stdio{};
  const char* oomScoreAdj = nullptr;
  std::size_t oomScoreAdjBytes = 0;
  const rlimit* openFiles = nullptr;

  Stage stage = Stage::kStdio;
  int error = 0;
};

// The C library's wrappers tell other threads about new ids; there are none, and in borrowed memory it must not try.
bool becomeUser(const User& user) {
  return ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
         ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0;
}

bool placeStdio(const Stdio& stdio) {
  // Sources are never 0..2 unless they already are where they belong, see startProcess().
  return ::dup2(stdio.in, STDIN_FILENO) >= 0 && ::dup2(stdio.out, STDOUT_FILENO) >= 0 &&
         ::dup2(stdio.err, STDERR_FILENO) >= 0;
}

void writeOomScore(const ChildPlan& plan) {
  const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const auto written = ::write(file, plan.oomScoreAdj, plan.oomScoreAdjBytes);
  ::close(file);
}

void runProgram(ChildPlan& plan) {
  // As execvp(3): "not there" tries the next directory, "not allowed" does too but is what is told in the end.
  int told = ENOENT;
  for (const char* candidate : plan.candidates) {
    ::execve(candidate, plan.argv.data(), plan.env.data());
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) continue;
    told = errno;
    if (errno != EACCES) break;
  }
  plan.error = told;
}

int childMain(void* argument) {
  auto& plan = *static_cast<ChildPlan*>(argument);
  const auto giveUp = [&plan] {
    plan.error = errno;
    ::_exit(kNotFound);
  };
  ::setsid();
  if (!placeStdio(plan.stdio)) giveUp();
  plan.stage = Stage::kTerminal;
  if (plan.ownsTerminal && ::ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) giveUp();
  // All of ours are close-on-exec already; this is for what a library opened behind our back.
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  if (plan.oomScoreAdj != nullptr) writeOomScore(plan);
  if (plan.openFiles != nullptr) ::setrlimit(RLIMIT_NOFILE, plan.openFiles);
  plan.stage = Stage::kUser;
  if (plan.user != nullptr && !becomeUser(*plan.user)) giveUp();
  // After the user, so that a directory that this user may not enter is refused.
  plan.stage = Stage::kDirectory;
  if (plan.workingDir != nullptr && ::chdir(plan.workingDir) != 0) giveUp();
  plan.stage = Stage::kProgram;
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  runProgram(plan);
  ::_exit(kNotFound);
}

StartFailure explainProgram(const std::string& program, std::string_view path, int error) {
  const std::string what = "cannot run " + quoted(program) + ": ";
  switch (error) {
    case ENOENT:
      if (program.find('/') == std::string::npos) {
        return {kNotFound, what + "not found in PATH " + quoted(path, 300)};
      }
      return {kNotFound, what + "no such file, or the interpreter that it names is missing"};
    case ENOEXEC: return {kCannotRun, what + "not a program for this machine, nor a script that begins with #!"};
    default: return {kCannotRun, what + errnoText(error)};
  }
}

StartFailure explain(const LaunchSpec& spec, const std::string& program, std::string_view path, Stage stage, int error) {
  switch (stage) {
    case Stage::kStdio: return {kCannotRun, "cannot set up the standard streams: " + errnoText(error)};
    case Stage::kTerminal: return {kCannotRun, "cannot take the terminal: " + errnoText(error)};
    case Stage::kUser: return {kCannotRun, "cannot become user " + quoted(spec.user) + ": " + errnoText(error)};
    case Stage::kDirectory:
      return {kCannotRun, "cannot enter working directory " + quoted(spec.workingDir, 300) + ": " + errnoText(error)};
    case Stage::kProgram: break;
  }
  return explainProgram(program, path, error);
}

// A shell whose name begins with a hyphen is a login shell: the convention of login(1).
std::string loginName(std::string_view shell) { return "-" + std::string(shell.substr(shell.rfind('/') + 1)); }

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  // execve(2) takes pointers to non-const for the sake of old C; it writes nothing.
  for (const auto& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::optional<std::string> checkLaunchSpec(const LaunchSpec& spec) {
  const auto hasNul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  const bool loginShell = spec.argv.empty() && spec.terminal;
  if (!loginShell && (spec.argv.empty() || spec.argv.front().empty())) return "no program to run";
  if (spec.argv.size() > kMaxArguments) return "more than 4,096 arguments";
  std::size_t bytes = 0;
  for (const auto& argument : spec.argv) {
    if (hasNul(argument)) return "an argument holds a zero byte";
    bytes += argument.size();
  }
  if (bytes > kMaxArgumentBytes) return "arguments of more than 48 KiB";
  if (spec.env.size() > kMaxVariables) return "more than 1,024 environment variables";
  for (const auto& entry : spec.env) {
    const auto equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos || hasNul(entry)) {
      return "environment entry " + quoted(entry) + " is not NAME=value";
    }
  }
  if (!spec.workingDir.empty() && (spec.workingDir.front() != '/' || hasNul(spec.workingDir))) {
    return "working directory " + quoted(spec.workingDir) + " is not an absolute path";
  }
  return std::nullopt;
}

std::expected<pid_t, StartFailure> startProcess(const LaunchSpec& spec, std::span<const std::string> sharedEnv,
                                                Stdio stdio, const ChildLimits& limits) {
  // With no user asked for, credentials stay as the container's; the lookup is for HOME and USER only.
  const auto user = lookUpUser(spec.user.empty() ? std::to_string(::geteuid()) : spec.user);
  if (!user) return std::unexpected(StartFailure{kCannotRun, user.error()});
  auto env = mergeEnvironment(sharedEnv, spec.env, *user);
  if (spec.terminal && findVariable(env, "TERM").empty()) env.emplace_back("TERM=xterm-256color");
  const auto path = findVariable(env, "PATH");
  const std::string shell = user->shell.empty() ? "/bin/sh" : user->shell;
  const std::vector<std::string> argv = spec.argv.empty() ? std::vector{loginName(shell)} : spec.argv;
  const std::string& program = spec.argv.empty() ? shell : argv.front();
  const auto candidates = programCandidates(program, path);

  ChildPlan plan;
  for (const auto& candidate : candidates) plan.candidates.push_back(candidate.c_str());
  plan.argv = pointers(argv);
  plan.env = pointers(env);
  if (!spec.workingDir.empty()) plan.workingDir = spec.workingDir.c_str();
  if (!spec.user.empty()) plan.user = &*user;
  plan.stdio = stdio;
  plan.ownsTerminal = spec.terminal.has_value();
  // As login(1) does, so that the user may open its own terminal by name. Where it cannot be, only that is missing.
  if (plan.ownsTerminal) {
    ::fchmod(stdio.in, kTerminalMode);
    [[maybe_unused]] const auto owned = ::fchown(stdio.in, user->uid, static_cast<gid_t>(-1));
  }
  const std::string oomScoreAdj = limits.oomScoreAdj ? std::to_string(*limits.oomScoreAdj) : std::string();
  if (limits.oomScoreAdj) plan.oomScoreAdj = oomScoreAdj.c_str();
  plan.oomScoreAdjBytes = oomScoreAdj.size();
  rlimit openFiles{};
  if (limits.openFiles && ::getrlimit(RLIMIT_NOFILE, &openFiles) == 0) {
    openFiles.rlim_cur = *limits.openFiles;
    plan.openFiles = &openFiles;
  }

  // One at a time: the parent sleeps until the child has its own memory or is gone.
  alignas(16) static std::array<char, 32 * 1024> stack;
  const pid_t pid = ::clone(childMain, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, &plan);
  if (pid < 0) {
    const int error = errno;
    return std::unexpected(StartFailure{
        kCannotRun, error == EAGAIN ? "cannot start a process: the sandbox's process limit is reached"
                                    : "cannot start a process: " + errnoText(error)});
  }
  if (plan.error == 0) return pid;
  // It has exited or is about to; nobody else may find it.
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unexpected(explain(spec, program, path, plan.stage, plan.error));
}

}  // namespace gs::guest

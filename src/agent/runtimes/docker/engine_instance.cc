#include "agent/runtimes/docker/engine_instance.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "agent/runtimes/docker/engine_errors.h"

namespace gs {
namespace {

std::string firstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of stat, in ticks since boot. The name before it is in brackets and may hold anything. Empty: no such process.
std::string startTimeOf(pid_t pid, const EnginePlaces& places) {
  const auto stat = firstLine(fmt::format("{}/{}/stat", places.proc, pid));
  const auto name = stat.rfind(')');
  if (name == std::string::npos) return "";
  std::istringstream fields(stat.substr(name + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return fields ? field : "";
}

std::string nameOf(pid_t pid, const EnginePlaces& places) { return firstLine(fmt::format("{}/{}/comm", places.proc, pid)); }

// 0: not known.
pid_t pidInFile(const EnginePlaces& places) {
  const auto text = firstLine(places.pidFile);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  return error == std::errc() && pid > 1 ? pid : 0;
}

// 0: the kernel does not say.
Result<pid_t> listenerOf(const std::string& socketPath) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socketPath.size() >= sizeof(address.sun_path)) return fail(ErrorCode::kInvalidArgument, "the engine's socket path is too long");
  std::memcpy(address.sun_path, socketPath.data(), socketPath.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(errnoError(errno, "opening a socket"));
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int why = errno;
  ucred peer{};
  socklen_t size = sizeof(peer);
  const bool told = connected && ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  ::close(fd);
  if (!connected) return fail(engineUnreachable(makeError(ErrorCode::kUnavailable, fmt::format("connecting: {}", std::strerror(why))), socketPath));
  return told ? peer.pid : 0;
}

}  // namespace

Result<std::string> engineInstance(const std::string& socketPath, const EnginePlaces& places) {
  GS_TRY(pid_t pid, listenerOf(socketPath));
  // Init (or a user's systemd) holds the socket and hands it to each engine in turn.
  if (pid == 1 || (pid != 0 && nameOf(pid, places) == "systemd")) {
    pid = pidInFile(places);
    if (pid != 0 && nameOf(pid, places) != "dockerd") pid = 0;
  }
  if (pid == 0) return std::string();
  const auto started = startTimeOf(pid, places);
  const auto boot = firstLine(places.proc + "/sys/kernel/random/boot_id");
  if (started.empty() || boot.empty()) return std::string();
  return fmt::format("{}:{}:{}", boot, pid, started);
}

}  // namespace gs

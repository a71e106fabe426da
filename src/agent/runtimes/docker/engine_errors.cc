#include "agent/runtimes/docker/engine_errors.h"

#include <nlohmann/json.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/encoding.h"
#include "base/json.h"

namespace gs {
namespace {

constexpr std::size_t kMaxSentence = 400;
constexpr int kAnyStatus = 0;

// First match wins. `phrase` is compared without case.
struct Meaning {
  int status;
  std::string_view phrase;
  ErrorCode code;
  std::string_view reason;
};
constexpr std::array kMeanings{
    // A full disk is reported as 500, or inside of a stream, with the kernel's own words.
    Meaning{kAnyStatus, "no space left on device", ErrorCode::kResourceExhausted, "docker_disk_full"},
    Meaning{kAnyStatus, "cannot allocate memory", ErrorCode::kResourceExhausted, "docker_out_of_memory"},
    // Only these two sentences mean absence. A 404 can also be about a file that the engine misses on its own disk.
    Meaning{404, "no such container", ErrorCode::kNotFound, "container_missing"},
    Meaning{404, "no such image", ErrorCode::kFailedPrecondition, "blueprint_missing"},
    Meaning{409, "removal of container", ErrorCode::kAborted, "removal_in_progress"},
    Meaning{409, "marked for removal", ErrorCode::kAborted, "removal_in_progress"},
    Meaning{409, "is already in use by container", ErrorCode::kAlreadyExists, "name_taken"},
    Meaning{409, "cannot start a paused container", ErrorCode::kFailedPrecondition, "container_paused"},
    Meaning{409, "is not running", ErrorCode::kFailedPrecondition, "not_running"},
    // The engine answers 400 when the first process cannot be executed, and 500 on some versions.
    Meaning{400, "oci runtime create failed", ErrorCode::kFailedPrecondition, "start_refused"},
    Meaning{500, "oci runtime create failed", ErrorCode::kFailedPrecondition, "start_refused"},
    Meaning{500, "did not receive an exit event", ErrorCode::kDeadlineExceeded, "kill_not_confirmed"},
    Meaning{500, "context deadline exceeded", ErrorCode::kDeadlineExceeded, "docker_slow"},
    // dockerd answers so while its containerd is away.
    Meaning{500, "connection error: desc", ErrorCode::kUnavailable, "docker_unreachable"},
    Meaning{500, "transport is closing", ErrorCode::kUnavailable, "docker_unreachable"},
    Meaning{500, "daemon is shutting down", ErrorCode::kUnavailable, "docker_unreachable"},
    Meaning{503, "", ErrorCode::kUnavailable, "docker_unreachable"},
    Meaning{400, "", ErrorCode::kInvalidArgument, "docker_refused"},
    Meaning{409, "", ErrorCode::kFailedPrecondition, "docker_conflict"},
};

bool containsWithoutCase(std::string_view text, std::string_view phrase) {
  const auto lower = [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); };
  return !std::ranges::search(text, phrase, {}, lower, lower).empty() || phrase.empty();
}

std::string sentenceOf(std::string_view body) {
  if (auto json = parseJson(body)) {
    if (auto message = findString(*json, "message"); message && *message) return std::move(**message);
  }
  return std::string(body);
}

Error meaningOf(int status, std::string_view sentence, std::string_view doing) {
  const auto row = std::ranges::find_if(kMeanings, [&](const Meaning& m) {
    return (m.status == kAnyStatus || m.status == status) && containsWithoutCase(sentence, m.phrase);
  });
  const bool known = row != kMeanings.end();
  auto error = makeError(known ? row->code : ErrorCode::kInternal,
                         fmt::format("Docker refused: {}", escapeForLog(sentence, kMaxSentence)));
  error.reason = known ? row->reason : "docker_error";
  if (error.reason == "docker_disk_full") error.fix = "free space under Docker's data folder (docker info shows it)";
  return std::move(error).context(std::string(doing));
}

}  // namespace

Error engineError(int status, std::string_view body, std::string_view doing) {
  auto sentence = sentenceOf(body);
  while (!sentence.empty() && (sentence.back() == '\n' || sentence.back() == '\r')) sentence.pop_back();
  if (sentence.empty()) sentence = fmt::format("status {}", status);
  return meaningOf(status, sentence, doing);
}

Error engineStreamError(std::string_view sentence, std::string_view doing) {
  return meaningOf(kAnyStatus, sentence, doing);
}

EngineSilence explainSilence(const std::string& socketPath) {
  const auto shown = escapeForLog(socketPath);
  int problem = ENAMETOOLONG;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socketPath.size() < sizeof(address.sun_path)) {
    std::memcpy(address.sun_path, socketPath.c_str(), socketPath.size() + 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The C interface of sockets takes every address type through this cast.
    problem = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
    ::close(fd);
  }
  switch (problem) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return {"docker_socket_missing", fmt::format("there is no Docker socket at {}", shown),
              "start Docker (systemctl start docker), or name its socket in /etc/gstacks/agent.yaml"};
    case EACCES:
    case EPERM:
      return {"docker_permission_denied", fmt::format("this process may not use the Docker socket at {}", shown),
              "run gstacks-agent as root"};
    case ECONNREFUSED:
      return {"docker_not_answering", fmt::format("nobody listens on the Docker socket at {}", shown),
              "start Docker (systemctl start docker)"};
    default:
      return {"docker_not_answering", fmt::format("Docker does not answer on {}", shown),
              "look at its log (journalctl -u docker); restart it when it hangs"};
  }
}

Error engineUnreachable(Error transport, const std::string& socketPath) {
  // Ours to explain only when it was the transport that failed: other codes have their own meaning.
  if (transport.code != ErrorCode::kUnavailable && transport.code != ErrorCode::kDeadlineExceeded &&
      transport.code != ErrorCode::kNotFound && transport.code != ErrorCode::kPermissionDenied) {
    return transport;
  }
  const auto silence = explainSilence(socketPath);
  const auto code = transport.code == ErrorCode::kDeadlineExceeded ? transport.code : ErrorCode::kUnavailable;
  auto error = makeError(code, fmt::format("{} ({})", silence.message, transport.message));
  error.reason = "docker_unreachable";
  error.fix = silence.fix;
  error.trace = std::move(transport.trace);
  return error;
}

}  // namespace gs

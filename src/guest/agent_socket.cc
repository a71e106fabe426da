#include "guest/agent_socket.h"

#include <google/protobuf/message_lite.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "wire/guest_frames.h"

namespace gs::guest {

std::expected<UniqueFd, int> dialAgent(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return std::unexpected(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.isOpen()) return std::unexpected(errno);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return std::unexpected(errno);
  }
  return socket;
}

void appendFrame(std::string& out, const google::protobuf::MessageLite& message) {
  const std::size_t start = out.size();
  out.append(kGuestFrameHeaderBytes, '\0');
  // False only for missing required fields, which proto3 has not.
  (void)message.AppendToString(&out);
  putGuestFrameLength(out.data() + start, out.size() - start - kGuestFrameHeaderBytes);
}

Outgoing::Verdict Outgoing::send(int fd, std::string_view bytes) {
  if (!empty()) {
    kept_.append(bytes);
    return Verdict::kWaiting;
  }
  clear();
  while (!bytes.empty()) {
    const auto count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != ENOBUFS) return Verdict::kBroken;
    kept_.assign(bytes);
    return Verdict::kWaiting;
  }
  return Verdict::kSent;
}

Outgoing::Verdict Outgoing::flush(int fd) {
  while (!empty()) {
    const auto count = ::send(fd, kept_.data() + sent_, kept_.size() - sent_, MSG_NOSIGNAL);
    if (count > 0) {
      sent_ += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == ENOBUFS ? Verdict::kWaiting : Verdict::kBroken;
  }
  clear();
  return Verdict::kSent;
}

void Outgoing::clear() {
  kept_.clear();
  sent_ = 0;
  // A burst must not be remembered for the rest of the sandbox's life.
  if (kept_.capacity() > 4096) kept_.shrink_to_fit();
}

}  // namespace gs::guest

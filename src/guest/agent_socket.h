// Dialling the agent, and sending without ever waiting for it.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "guest/unique_fd.h"

namespace google::protobuf {
class MessageLite;
}

namespace gs::guest {

// A connected, non-blocking stream socket, or the errno. EAGAIN: the agent's queue is full, try again soon.
[[nodiscard]] std::expected<UniqueFd, int> dialAgent(const std::string& path);

// Appends the message as one frame.
void appendFrame(std::string& out, const google::protobuf::MessageLite& message);

// Bytes on their way to a socket that does not take them now.
class Outgoing {
 public:
  enum class Verdict : std::uint8_t { kSent, kWaiting, kBroken };

  // Sends what the socket takes and keeps the rest. Copies only what is kept.
  [[nodiscard]] Verdict send(int fd, std::string_view bytes);
  // Again, when the socket has become writable.
  [[nodiscard]] Verdict flush(int fd);
  [[nodiscard]] bool empty() const { return sent_ == kept_.size(); }
  [[nodiscard]] std::size_t size() const { return kept_.size() - sent_; }
  void clear();

 private:
  std::string kept_;
  std::size_t sent_ = 0;
};

}  // namespace gs::guest

// The worker's end of a file operation's connection: whole frames, blocking, with the limits of files.proto.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "globalstacks/guest/v1/files.pb.h"
#include "wire/guest_frames.h"

namespace gs::guest {

// Of data in one frame: with what is around it, it fits into 64 KiB.
inline constexpr std::size_t kMaxFileData = 64 * 1024 - 64;

class FileConnection {
 public:
  explicit FileConnection(int socket);

  // Nothing: the agent closed the connection, or sent what is no frame; nobody listens any more then.
  [[nodiscard]] std::optional<globalstacks::guest::v1::FileFrame> read();
  // Both give up silently when nobody listens: the next call of gone() tells.
  void send(const globalstacks::guest::v1::FileFrame& frame);
  // Where the next data may be put, kMaxFileData bytes; sent by sendData(count) without being copied.
  [[nodiscard]] std::span<char> dataSpace();
  void sendData(std::size_t count);
  [[nodiscard]] bool gone() const { return gone_; }
  // After an error: reads what is still on its way, so that nobody is stopped while writing it.
  void drain();

 private:
  void sendBytes(std::string_view bytes);

  int socket_;
  GuestFrameParser parser_;
  std::unique_ptr<char[]> buffer_;
  bool gone_ = false;
};

}  // namespace gs::guest

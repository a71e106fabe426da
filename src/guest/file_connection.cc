#include "guest/file_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "guest/agent_socket.h"

namespace gs::guest {
namespace {

constexpr char kDataTag = (2 << 3) | 2;
constexpr std::size_t kDataHead = kGuestFrameHeaderBytes + 1 + 3;

}  // namespace

FileConnection::FileConnection(int socket) : socket_(socket), buffer_(std::make_unique_for_overwrite<char[]>(kDataHead + kMaxFileData)) {}

std::optional<globalstacks::guest::v1::FileFrame> FileConnection::read() {
  while (true) {
    if (const auto payload = parser_.next()) {
      globalstacks::guest::v1::FileFrame frame;
      if (frame.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) return frame;
      gone_ = true;
      return std::nullopt;
    }
    if (parser_.broken()) gone_ = true;
    if (gone_) return std::nullopt;
    const auto space = parser_.prepare();
    const auto count = ::read(socket_, space.data(), space.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      gone_ = true;
      return std::nullopt;
    }
    parser_.commit(static_cast<std::size_t>(count));
  }
}

void FileConnection::send(const globalstacks::guest::v1::FileFrame& frame) {
  std::string bytes;
  appendFrame(bytes, frame);
  sendBytes(bytes);
}

std::span<char> FileConnection::dataSpace() { return {buffer_.get() + kDataHead, kMaxFileData}; }

void FileConnection::sendData(std::size_t count) {
  // The field's head, written backwards so that it ends where the data begins.
  char head[4] = {kDataTag};
  std::size_t size = 1;
  for (auto rest = count;; rest >>= 7) {
    const bool more = rest >= 0x80;
    head[size++] = static_cast<char>((rest & 0x7f) | (more ? 0x80 : 0));
    if (!more) break;
  }
  char* start = buffer_.get() + kDataHead - size;
  std::memcpy(start, head, size);
  putGuestFrameLength(start - kGuestFrameHeaderBytes, size + count);
  sendBytes({start - kGuestFrameHeaderBytes, kGuestFrameHeaderBytes + size + count});
}

void FileConnection::sendBytes(std::string_view bytes) {
  while (!bytes.empty() && !gone_) {
    const auto count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      gone_ = true;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void FileConnection::drain() {
  char waste[4096];
  while (!gone_) {
    const auto count = ::read(socket_, waste, sizeof(waste));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
  }
}

}  // namespace gs::guest

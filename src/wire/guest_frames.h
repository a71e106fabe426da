// Framing of the guest protocol: every message is preceded by its length, 4 bytes, big endian.
//
// Shared by both ends, so it stands on the standard library alone (the guest links nothing else of ours). Pure; no I/O:
// the caller reads into prepare() and says commit(). Any bytes may come; a length over the limit breaks the parser for
// good. Memory: one frame and one read at most (about 128 KiB), a page while frames stay small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace gs {

inline constexpr std::size_t kGuestFrameHeaderBytes = 4;
inline constexpr std::size_t kMaxGuestDataBytes = 64 * 1024;
inline constexpr std::size_t kMaxGuestFrameBytes = kMaxGuestDataBytes + 64;

inline void putGuestFrameLength(char* out, std::size_t length) {
  for (int shift = 24; shift >= 0; shift -= 8) *out++ = static_cast<char>((length >> shift) & 0xff);
}

// The payload with its length in front. The caller keeps within kMaxGuestFrameBytes.
[[nodiscard]] inline std::string makeGuestFrame(std::string_view payload) {
  std::string frame(kGuestFrameHeaderBytes + payload.size(), '\0');
  putGuestFrameLength(frame.data(), payload.size());
  std::memcpy(frame.data() + kGuestFrameHeaderBytes, payload.data(), payload.size());
  return frame;
}

class GuestFrameParser {
 public:
  // Space for the next read, never empty; valid until the next call. Invalidates frames given before. To be called only
  // when next() has given nothing, or the memory bound does not hold.
  [[nodiscard]] std::span<char> prepare() {
    const std::size_t have = end_ - begin_;
    std::size_t want = readBytes_;
    if (have >= kGuestFrameHeaderBytes && peekLength() <= kMaxGuestFrameBytes) {
      const std::size_t frame = kGuestFrameHeaderBytes + peekLength();
      if (frame > have && frame - have > want) want = frame - have;
    }
    if (have + want > capacity_) {
      auto larger = std::make_unique_for_overwrite<char[]>(have + want);
      if (have > 0) std::memcpy(larger.get(), buffer_.get() + begin_, have);
      buffer_ = std::move(larger);
      capacity_ = have + want;
    } else if (have > 0 && begin_ > 0) {
      std::memmove(buffer_.get(), buffer_.get() + begin_, have);
    }
    begin_ = 0;
    end_ = have;
    return {buffer_.get() + end_, want};
  }
  // The first `count` bytes of prepare() were filled.
  void commit(std::size_t count) {
    end_ += count;
    if (count == readBytes_) readBytes_ = kBulkReadBytes;
  }
  // Copies; for callers that have the bytes already. Bounded by the caller.
  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto space = prepare();
      const std::size_t count = bytes.size() < space.size() ? bytes.size() : space.size();
      std::memcpy(space.data(), bytes.data(), count);
      commit(count);
      bytes.remove_prefix(count);
    }
  }

  // The next whole frame's payload, valid until prepare() or feed(). Nothing: more bytes are needed, or broken().
  [[nodiscard]] std::optional<std::string_view> next() {
    if (broken_ || end_ - begin_ < kGuestFrameHeaderBytes) return std::nullopt;
    const std::size_t length = peekLength();
    if (length > kMaxGuestFrameBytes) {
      broken_ = true;
      return std::nullopt;
    }
    if (end_ - begin_ < kGuestFrameHeaderBytes + length) return std::nullopt;
    const std::string_view payload(buffer_.get() + begin_ + kGuestFrameHeaderBytes, length);
    begin_ += kGuestFrameHeaderBytes + length;
    return payload;
  }

  // The peer announced a frame over the limit. For good.
  [[nodiscard]] bool broken() const { return broken_; }
  // Bytes that belong to no whole frame yet: not zero at the end of a stream means that it was cut.
  [[nodiscard]] std::size_t pendingBytes() const { return end_ - begin_; }

 private:
  static constexpr std::size_t kFirstReadBytes = 4 * 1024;
  static constexpr std::size_t kBulkReadBytes = 64 * 1024;

  [[nodiscard]] std::size_t peekLength() const {
    std::size_t length = 0;
    for (std::size_t i = 0; i < kGuestFrameHeaderBytes; ++i) {
      length = (length << 8) | static_cast<unsigned char>(buffer_[begin_ + i]);
    }
    return length;
  }

  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t readBytes_ = kFirstReadBytes;
  bool broken_ = false;
};

}  // namespace gs

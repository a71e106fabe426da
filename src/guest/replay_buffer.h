// What a session's program has written, by position, so that a connection can go on exactly where another one ended.
//
// One sequence over stdout and stderr together, so that their order is kept. Two marks move through it: `begin` is the
// oldest byte that is still here, `acked` the first that nobody has confirmed. Old confirmed bytes stay until room is
// needed: they are the scroll-back of whoever attaches later.
// Pure; no I/O. Memory: `capacity` and one piece (16 KiB), whatever is appended in whatever pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace gs::guest {

enum class OutputStream : std::uint8_t { kStdout, kStderr };

class ReplayBuffer {
 public:
  struct Piece {
    OutputStream stream;
    std::string_view bytes;
  };

  explicit ReplayBuffer(std::size_t capacity) : capacity_(capacity) {}

  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t acked() const { return acked_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  // How much may be appended without losing a byte that was not confirmed. 0: the program has to wait.
  [[nodiscard]] std::size_t room() const;
  // The oldest bytes make way, confirmed or not: a caller that must not lose any asks room() first.
  void append(OutputStream stream, std::string_view bytes);
  // All before `offset` has arrived. Lower than before: no effect. Beyond the end: false, no effect.
  [[nodiscard]] bool ack(std::uint64_t offset);
  // Somebody reads from `offset` on (from the oldest, when that is later) and has confirmed nothing yet. Gives where it
  // begins; nothing when the offset is beyond the end.
  [[nodiscard]] std::optional<std::uint64_t> rewind(std::uint64_t offset);
  // What was confirmed goes now, not when room is needed.
  void dropAcked();
  // The bytes from `offset` on, of one stream, at most `most`; valid until the next change. Nothing at the end, or before
  // the beginning.
  [[nodiscard]] std::optional<Piece> at(std::uint64_t offset, std::size_t most) const;
  [[nodiscard]] std::size_t memory() const { return costFrom(begin_); }

 private:
  struct Segment {
    std::uint64_t offset;
    OutputStream stream;
    std::string bytes;
    [[nodiscard]] std::uint64_t end() const { return offset + bytes.size(); }
  };
  // The segment that holds `offset`, or the end.
  [[nodiscard]] std::deque<Segment>::const_iterator find(std::uint64_t offset) const;
  // Memory of the bytes from `offset` on. A piece costs more than its bytes, or single letters of alternating streams
  // would take forty times the capacity.
  [[nodiscard]] std::size_t costFrom(std::uint64_t offset) const;
  void dropBefore(std::uint64_t offset);

  std::size_t capacity_;
  std::uint64_t begin_ = 0;
  std::uint64_t acked_ = 0;
  std::uint64_t end_ = 0;
  std::deque<Segment> segments_;
};

}  // namespace gs::guest

#include "guest/replay_buffer.h"

#include <algorithm>

namespace gs::guest {
namespace {

constexpr std::size_t kSegmentBytes = 16 * 1024;
constexpr std::size_t kSegmentCost = 64;

}  // namespace

std::deque<ReplayBuffer::Segment>::const_iterator ReplayBuffer::find(std::uint64_t offset) const {
  const auto after = std::upper_bound(segments_.begin(), segments_.end(), offset,
                                      [](std::uint64_t at, const Segment& segment) { return at < segment.offset; });
  if (after == segments_.begin()) return segments_.end();
  const auto found = std::prev(after);
  return offset < found->end() ? found : segments_.end();
}

std::size_t ReplayBuffer::costFrom(std::uint64_t offset) const {
  const auto count = static_cast<std::size_t>(segments_.end() - find(offset));
  return static_cast<std::size_t>(end_ - offset) + count * kSegmentCost;
}

std::size_t ReplayBuffer::room() const {
  const auto used = costFrom(acked_);
  if (used >= capacity_) return 0;
  const auto free = capacity_ - used;
  const auto segments = (free / kSegmentBytes + 1) * kSegmentCost;  // that what comes may need
  return free > segments ? free - segments : 0;
}

void ReplayBuffer::append(OutputStream stream, std::string_view bytes) {
  while (!bytes.empty()) {
    if (segments_.empty() || segments_.back().stream != stream || segments_.back().bytes.size() >= kSegmentBytes) {
      segments_.push_back({.offset = end_, .stream = stream, .bytes = {}});
    }
    auto& last = segments_.back().bytes;
    const auto count = std::min(bytes.size(), kSegmentBytes - last.size());
    last.append(bytes.substr(0, count));
    end_ += count;
    bytes.remove_prefix(count);
  }
  while (costFrom(begin_) > capacity_) {
    const auto& oldest = segments_.front();
    const auto surplus = costFrom(begin_) - capacity_;
    dropBefore(std::min(oldest.end(), begin_ + surplus));
  }
}

bool ReplayBuffer::ack(std::uint64_t offset) {
  if (offset > end_) return false;
  acked_ = std::max(acked_, offset);
  return true;
}

std::optional<std::uint64_t> ReplayBuffer::rewind(std::uint64_t offset) {
  if (offset > end_) return std::nullopt;
  acked_ = std::max(offset, begin_);
  return acked_;
}

void ReplayBuffer::dropAcked() { dropBefore(acked_); }

void ReplayBuffer::dropBefore(std::uint64_t offset) {
  begin_ = offset;
  acked_ = std::max(acked_, begin_);
  while (!segments_.empty() && segments_.front().end() <= begin_) segments_.pop_front();
}

std::optional<ReplayBuffer::Piece> ReplayBuffer::at(std::uint64_t offset, std::size_t most) const {
  if (offset < begin_) return std::nullopt;
  const auto found = find(offset);
  if (found == segments_.end()) return std::nullopt;
  return Piece{found->stream, std::string_view(found->bytes).substr(static_cast<std::size_t>(offset - found->offset), most)};
}

}  // namespace gs::guest

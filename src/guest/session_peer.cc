#include "guest/session_peer.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "globalstacks/guest/v1/guest.pb.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

// ExecFrame's output fields on the wire: (field << 3) | 2 (length-delimited), protobuf encoding guide.
constexpr char kStdoutTag = (5 << 3) | 2;
constexpr char kStderrTag = (6 << 3) | 2;
// Length, tag, and a size of up to three bytes.
constexpr std::size_t kDataHeaderBytes = kGuestFrameHeaderBytes + 1 + 3;

// One for all: it is empty again when a callback returns.
std::array<char, kDataHeaderBytes + kMaxGuestDataBytes> buffer;

// The frame around `count` bytes that lie at buffer + kDataHeaderBytes, without touching them.
std::string_view frameAround(char tag, std::size_t count) {
  std::array<char, 4> head{tag};
  std::size_t size = 1;
  for (auto rest = count; ; rest >>= 7) {
    const bool more = rest >= 0x80;
    head.at(size++) = static_cast<char>((rest & 0x7f) | (more ? 0x80 : 0));
    if (!more) break;
  }
  char* start = buffer.data() + kDataHeaderBytes - size;
  std::copy_n(head.data(), size, start);
  putGuestFrameLength(start - kGuestFrameHeaderBytes, size + count);
  return {start - kGuestFrameHeaderBytes, kGuestFrameHeaderBytes + size + count};
}

}  // namespace

char* SessionPeer::scratch() { return buffer.data() + kDataHeaderBytes; }

SessionPeer::SessionPeer(EventLoop& loop, UniqueFd socket, Role role, Handler handler)
    : loop_(loop), socket_(std::move(socket)), role_(role), handler_(std::move(handler)) {}

void SessionPeer::listen() {
  if (!isOpen() || std::exchange(listening_, true)) return;
  loop_.watch(socket_.get(), EPOLLIN | EPOLLRDHUP, [this](std::uint32_t events) { onSocket(events); });
  updateWatch();
}

void SessionPeer::send(std::string_view frames) {
  if (!isOpen()) return;
  if (outgoing_.send(socket_.get(), frames) == Outgoing::Verdict::kBroken) return lose();
  if (finishing_ && outgoing_.empty()) return lose();
  updateWatch();
}

void SessionPeer::send(const pb::ExecFrame& frame) {
  std::string bytes;
  appendFrame(bytes, frame);
  send(bytes);
}

void SessionPeer::sendData(OutputStream stream, std::size_t count) {
  send(frameAround(stream == OutputStream::kStdout ? kStdoutTag : kStderrTag, count));
}

void SessionPeer::finish() {
  finishing_ = true;
  if (outgoing_.empty()) return lose();
  listen();
  updateWatch();
}

void SessionPeer::abandon() {
  if (!isOpen()) return;
  owned_ = false;
  self_ = shared_from_this();
  finish();
}

void SessionPeer::drop() {
  owned_ = false;
  closeSocket();
}

void SessionPeer::closeSocket() {
  if (!socket_.isOpen()) return;
  if (listening_ && !lost_) loop_.forget(socket_.get());
  socket_.reset();
  outgoing_.clear();
}

void SessionPeer::lose() {
  if (!isOpen()) return;
  lost_ = true;
  if (listening_) loop_.forget(socket_.get());
  outgoing_.clear();
  // Not from within a send(): whoever sends is in the middle of something.
  loop_.later([self = shared_from_this()] {
    if (!self->finishing_) self->hearLastWords();
    self->closeSocket();
    self->self_.reset();
    if (self->owned_) self->handler_.gone(*self);
  });
}

void SessionPeer::resume() {
  if (!std::exchange(waiting_, false)) return;
  readFrames();
  updateWatch();
}

void SessionPeer::onSocket(std::uint32_t events) {
  const auto self = shared_from_this();
  // Half a close is a close: the agent never does that, and with input unread it would go unnoticed.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return lose();
  if ((events & EPOLLOUT) != 0) {
    if (outgoing_.flush(socket_.get()) == Outgoing::Verdict::kBroken) return lose();
    if (outgoing_.empty()) {
      if (finishing_) return lose();
      handler_.emptied(*this);
    }
    if (!isOpen()) return;
  }
  if ((events & EPOLLIN) != 0 && !waiting_) {
    const auto space = parser_.prepare();
    const auto count = ::read(socket_.get(), space.data(), space.size());
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return lose();
    if (count > 0) parser_.commit(static_cast<std::size_t>(count));
    readFrames();
  }
  updateWatch();
}

// What the agent said before it closed: a client that does not come back says so.
void SessionPeer::hearLastWords() {
  closing_ = true;
  waiting_ = false;
  if (!owned_ || broken_) return;
  for (readFrames(); socket_.isOpen(); readFrames()) {
    const auto space = parser_.prepare();
    const auto count = ::read(socket_.get(), space.data(), space.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    parser_.commit(static_cast<std::size_t>(count));
  }
}

void SessionPeer::readFrames() {
  const auto self = shared_from_this();
  // Stops at what cannot be used yet; the rest stays in the parser.
  while (socket_.isOpen() && !waiting_ && !broken_) {
    const auto payload = parser_.next();
    pb::ExecFrame frame;
    if (payload) {
      broken_ = !frame.ParseFromArray(payload->data(), static_cast<int>(payload->size()));
    } else {
      broken_ = parser_.broken();
    }
    if (broken_) return lose();
    if (!payload) return;
    if (finishing_) continue;
    switch (handler_.frame(*this, frame)) {
      case Verdict::kMore: break;
      case Verdict::kWait: waiting_ = !closing_; break;
      case Verdict::kBroken: broken_ = true; return lose();
    }
  }
}

void SessionPeer::updateWatch() {
  if (!isOpen() || !listening_) return;
  std::uint32_t events = EPOLLRDHUP;
  if (!waiting_) events |= EPOLLIN;
  if (!outgoing_.empty()) events |= EPOLLOUT;
  loop_.change(socket_.get(), events);
}

}  // namespace gs::guest

#include "guest/control_connection.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gs::guest {
namespace {

constexpr Millis kFirstRedial{20};
constexpr Millis kLastRedial{1000};
// Answers that the agent has not taken; beyond it nothing more is read, so nothing more is asked.
constexpr std::size_t kMaxUnsentBytes = 64 * 1024;

}  // namespace

ControlConnection::ControlConnection(EventLoop& loop, std::string path, std::function<std::string()> hello,
                                     std::function<bool(std::string_view)> onFrame)
    : loop_(loop),
      path_(std::move(path)),
      hello_(std::move(hello)),
      onFrame_(std::move(onFrame)),
      redialDelay_(kFirstRedial) {}

void ControlConnection::dial() {
  auto socket = dialAgent(path_);
  if (!socket) return drop();
  socket_ = std::move(*socket);
  parser_ = {};
  outgoing_.clear();
  loop_.watch(socket_.get(), EPOLLIN, [this](std::uint32_t events) { onSocket(events); });
  send(hello_());
}

void ControlConnection::send(std::string_view frame) {
  if (!socket_.isOpen()) return;
  if (outgoing_.send(socket_.get(), frame) == Outgoing::Verdict::kBroken) return drop();
  updateWatch();
}

void ControlConnection::onSocket(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && outgoing_.flush(socket_.get()) == Outgoing::Verdict::kBroken) return drop();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    const auto space = parser_.prepare();
    const auto count = ::read(socket_.get(), space.data(), space.size());
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return drop();
    if (count > 0) parser_.commit(static_cast<std::size_t>(count));
    if (!readFrames()) return drop();
  }
  if (socket_.isOpen()) updateWatch();
}

bool ControlConnection::readFrames() {
  while (const auto payload = parser_.next()) {
    // Only an agent that speaks counts as there: one that drops us at once must not be dialled 50 times a second.
    redialDelay_ = kFirstRedial;
    if (!onFrame_(*payload)) return false;
    // An answer may have found the connection broken, and drop() has been here already.
    if (!socket_.isOpen()) return true;
  }
  return !parser_.broken();
}

void ControlConnection::updateWatch() {
  std::uint32_t events = 0;
  if (outgoing_.size() < kMaxUnsentBytes) events |= EPOLLIN;
  if (!outgoing_.empty()) events |= EPOLLOUT;
  loop_.change(socket_.get(), events);
}

void ControlConnection::drop() {
  if (socket_.isOpen()) loop_.forget(socket_.get());
  socket_.reset();
  loop_.after(redialDelay_, [this] { dial(); });
  redialDelay_ = std::min(redialDelay_ * 2, kLastRedial);
}

}  // namespace gs::guest

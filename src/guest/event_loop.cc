#include "guest/event_loop.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace gs::guest {

EventLoop::EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  // Without it the guest can do nothing at all; the container's exit is the message.
  if (!epoll_.isOpen()) std::abort();
}

void EventLoop::watch(int fd, std::uint32_t events, Callback callback) {
  if (sources_.contains(fd)) return change(fd, events);
  auto source = std::make_unique<Source>(Source{.fd = fd, .events = events, .callback = std::move(callback)});
  epoll_event event{};
  event.events = events;
  event.data.ptr = source.get();
  // Fails only out of kernel memory. Then the descriptor stays silent, which is the least harm.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  sources_.emplace(fd, std::move(source));
}

void EventLoop::change(int fd, std::uint32_t events) {
  const auto found = sources_.find(fd);
  if (found == sources_.end() || found->second->events == events) return;
  found->second->events = events;
  epoll_event event{};
  event.events = events;
  event.data.ptr = found->second.get();
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::forget(int fd) {
  const auto found = sources_.find(fd);
  if (found == sources_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  found->second->alive = false;
  // This round's remaining events may still point at it, and it may be the one whose callback runs now.
  forgotten_.push_back(std::move(found->second));
  sources_.erase(found);
}

EventLoop::TimerId EventLoop::after(Millis delay, std::function<void()> callback) {
  const TimerId id = ++lastTimer_;
  timers_.emplace(Clock::now() + delay, Timer{.id = id, .callback = std::move(callback)});
  return id;
}

void EventLoop::cancel(TimerId& timer) {
  const TimerId id = std::exchange(timer, 0);
  if (id == 0) return;
  for (auto it = timers_.begin(); it != timers_.end(); ++it) {
    if (it->second.id != id) continue;
    timers_.erase(it);
    return;
  }
}

int EventLoop::waitMillis() const {
  if (!later_.empty()) return 0;
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  // Rounded up, or the last millisecond is spent spinning.
  return static_cast<int>(std::chrono::ceil<Millis>(left).count());
}

void EventLoop::runTimers() {
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    const auto timer = std::move(timers_.extract(timers_.begin()).mapped());
    timer.callback();
  }
}

void EventLoop::endRound() {
  // Work may put off more work; that belongs to the next round.
  const auto work = std::exchange(later_, {});
  for (const auto& item : work) item();
  forgotten_.clear();
}

void EventLoop::run() {
  std::array<epoll_event, 64> events{};
  while (running_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), waitMillis());
    for (int i = 0; i < count; ++i) {
      auto* source = static_cast<Source*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (source->alive) source->callback(events[static_cast<std::size_t>(i)].events);
    }
    runTimers();
    endRound();
  }
}

}  // namespace gs::guest

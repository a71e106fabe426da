// The guest's only thread: epoll, timers, and work put off to the end of a round.
//
// A callback may forget any descriptor and cancel any timer, its own included; what it captured lives to the end of the
// round. An object must not be destroyed inside its own callback: hand it to later().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "guest/unique_fd.h"

namespace gs::guest {

using Millis = std::chrono::milliseconds;

class EventLoop {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  using TimerId = std::uint64_t;  // 0: no timer

  EventLoop();

  // Level-triggered. Already watched: the events are replaced, the callback stays. EPOLLHUP and EPOLLERR always come, so
  // a descriptor whose end must not be looked at yet has to be forgotten.
  void watch(int fd, std::uint32_t events, Callback callback);
  void change(int fd, std::uint32_t events);
  // Before the descriptor is closed. Unknown: no effect.
  void forget(int fd);

  TimerId after(Millis delay, std::function<void()> callback);
  // Cancels and sets it to 0. A timer that is over: no effect.
  void cancel(TimerId& timer);

  // Runs at the end of this round.
  void later(std::function<void()> work) { later_.push_back(std::move(work)); }

  // Until stop(). Never returns by itself.
  void run();
  void stop() { running_ = false; }

 private:
  struct Source {
    int fd;
    std::uint32_t events;
    Callback callback;
    bool alive = true;
  };
  struct Timer {
    TimerId id;
    std::function<void()> callback;
  };
  using Clock = std::chrono::steady_clock;

  int waitMillis() const;
  void runTimers();
  void endRound();

  UniqueFd epoll_;
  std::unordered_map<int, std::unique_ptr<Source>> sources_;
  std::vector<std::unique_ptr<Source>> forgotten_;
  std::multimap<Clock::time_point, Timer> timers_;
  std::vector<std::function<void()>> later_;
  TimerId lastTimer_ = 0;
  bool running_ = true;
};

}  // namespace gs::guest

// Time as something that is passed in, so that tests and the simulation can own it.
//
// wallNow() is for records and certificates; steadyNow() is for measuring and deadlines. Waiting is not here: it is
// async/deadline.h. All times are UTC.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;
using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime wallNow() const = 0;
  [[nodiscard]] virtual SteadyTime steadyNow() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] WallTime wallNow() const override;
  [[nodiscard]] SteadyTime steadyNow() const override;
};

// Stands still until advanced. Any thread may read; one thread advances.
class FakeClock final : public Clock {
 public:
  [[nodiscard]] WallTime wallNow() const override { return wall_; }
  [[nodiscard]] SteadyTime steadyNow() const override { return steady_; }
  void advance(Millis by) {
    wall_ += by;
    steady_ += by;
  }

 private:
  WallTime wall_{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
  SteadyTime steady_{};
};

// RFC 3339 in UTC with milliseconds: 2026-01-02T03:04:05.678Z
[[nodiscard]] std::string formatTime(WallTime time);
[[nodiscard]] Result<WallTime> parseTime(std::string_view text);
[[nodiscard]] inline std::int64_t toUnixMillis(WallTime time) { return time.time_since_epoch().count(); }
[[nodiscard]] inline WallTime fromUnixMillis(std::int64_t ms) { return WallTime(Millis(ms)); }

}  // namespace gs

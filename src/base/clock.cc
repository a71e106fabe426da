#include "base/clock.h"

#include <cstdio>

namespace gs {

WallTime SystemClock::wallNow() const {
  return std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
}
SteadyTime SystemClock::steadyNow() const { return std::chrono::steady_clock::now(); }

std::string formatTime(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

Result<WallTime> parseTime(std::string_view text) {
  int year = 0;
  unsigned month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0;
  int used = 0;
  const std::string copy(text);
  const int got = std::sscanf(copy.c_str(), "%4d-%2u-%2uT%2u:%2u:%2u.%3uZ%n", &year, &month, &day, &hour, &minute,
                              &second, &ms, &used);
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month}, std::chrono::day{day}};
  if (got != 7 || used != static_cast<int>(copy.size()) || !date.ok() || hour > 23 || minute > 59 || second > 59) {
    return fail(ErrorCode::kInvalidArgument, "a time must look like 2026-01-02T03:04:05.678Z");
  }
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + Millis(ms);
}

}  // namespace gs

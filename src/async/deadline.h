// When an operation must be over. Every outbound call takes one.
#pragma once

#include "async/task.h"
#include "base/clock.h"

namespace gs {

class Deadline {
 public:
  [[nodiscard]] static Deadline after(Millis delay) { return Deadline(std::chrono::steady_clock::now() + delay); }
  [[nodiscard]] static Deadline at(SteadyTime time) { return Deadline(time); }
  // Only for streams whose life is bounded by something else (a session, a link).
  [[nodiscard]] static Deadline never() { return Deadline(SteadyTime::max()); }

  [[nodiscard]] SteadyTime time() const { return time_; }
  [[nodiscard]] bool isNever() const { return time_ == SteadyTime::max(); }
  [[nodiscard]] bool expired() const { return !isNever() && std::chrono::steady_clock::now() >= time_; }
  // Zero when over; a day when never.
  [[nodiscard]] Millis remaining() const;
  [[nodiscard]] Deadline earlier(Deadline other) const { return Deadline(std::min(time_, other.time_)); }

 private:
  explicit Deadline(SteadyTime time) : time_(time) {}
  SteadyTime time_;
};

// Waits; cancellable. Returns at once when the time is past.
[[nodiscard]] Task<void> sleepFor(Millis delay);
[[nodiscard]] Task<void> sleepUntil(Deadline deadline);

}  // namespace gs

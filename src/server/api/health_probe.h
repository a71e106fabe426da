// Whether the server can serve, asked as often as anybody likes and tried at most once a second.
//
// Loop thread only. Once beginStop() was called the answer is no.
#pragma once

#include <functional>

#include "async/task.h"
#include "base/clock.h"

namespace gs {

class HealthProbe {
 public:
  // `probe` tries a write.
  HealthProbe(const Clock& clock, std::function<Task<Status>()> probe) : clock_(clock), probe_(std::move(probe)) {}

  // kUnavailable when not.
  [[nodiscard]] Task<Status> check();
  void beginStop() { stopping_ = true; }

 private:
  const Clock& clock_;
  std::function<Task<Status>()> probe_;
  SteadyTime goodUntil_{};
  bool stopping_ = false;
};

}  // namespace gs

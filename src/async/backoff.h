// Exponential backoff with full jitter: the wait is uniform in [0, min(cap, base·2^n)].
//
// Source: "Exponential Backoff And Jitter" (AWS architecture blog, 2015). Reset only after the thing that failed has
// been stable for a while, or a flapping server is hammered.
#pragma once

#include <random>

#include "base/clock.h"

namespace gs {

class Backoff {
 public:
  Backoff(Millis base, Millis cap);  // seeded by the kernel
  Backoff(Millis base, Millis cap, std::uint64_t seed) : base_(base), cap_(cap), random_(seed) {}

  [[nodiscard]] Millis next();
  void reset() { attempt_ = 0; }
  [[nodiscard]] int attempt() const { return attempt_; }

 private:
  Millis base_;
  Millis cap_;
  std::mt19937_64 random_;
  int attempt_ = 0;
};

}  // namespace gs

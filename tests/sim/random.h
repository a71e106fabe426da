// Every choice of a simulation, from its seed (xorshift64*, after splitmix64). Not for secrets.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace gs::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) {
    seed += 0x9e3779b97f4a7c15ULL;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebULL;
    state_ = (seed ^ (seed >> 31)) | 1;
  }
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }
  std::uint64_t below(std::uint64_t bound) { return (next() >> 11) % bound; }
  bool chance(unsigned perMille) { return below(1000) < perMille; }
  Millis between(Millis low, Millis high) {
    return low + Millis(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
  }

 private:
  std::uint64_t state_;
};

}  // namespace gs::sim

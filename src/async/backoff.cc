#include "async/backoff.h"

#include <cstring>

#include "base/encoding.h"

namespace gs {
namespace {

std::uint64_t freshSeed() {
  std::uint64_t seed = 0;
  const auto bytes = randomBytes(sizeof seed);
  std::memcpy(&seed, bytes.data(), sizeof seed);
  return seed;
}

}  // namespace

Backoff::Backoff(Millis base, Millis cap) : Backoff(base, cap, freshSeed()) {}

Millis Backoff::next() {
  const int shift = std::min(attempt_, 20);
  ++attempt_;
  const auto ceiling = std::min<std::int64_t>(cap_.count(), base_.count() << shift);
  return Millis(std::uniform_int_distribution<std::int64_t>(0, ceiling)(random_));
}

}  // namespace gs

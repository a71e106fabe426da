#include "async/backoff.h"

namespace gs {

Millis Backoff::next() {
  const int shift = std::min(attempt_, 20);
  ++attempt_;
  const auto ceiling = std::min<std::int64_t>(cap_.count(), base_.count() << shift);
  return Millis(std::uniform_int_distribution<std::int64_t>(0, ceiling)(random_));
}

}  // namespace gs

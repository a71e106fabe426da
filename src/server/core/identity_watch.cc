#include "server/core/identity_watch.h"

namespace gs {

IdentityVerdict judgeTakeover(const Takeover& takeover, const std::optional<Contradiction>& last, SteadyTime now) {
  const bool contradicts = takeover.namedEpoch != 0 && takeover.namedEpoch < takeover.presentEpoch && takeover.spokenOn;
  if (!contradicts) return IdentityVerdict::kFine;
  const bool turns = last && last->namedEpoch != takeover.namedEpoch && now - last->at <= kIdentityWindow;
  return turns ? IdentityVerdict::kDuplicate : IdentityVerdict::kContradiction;
}

}  // namespace gs

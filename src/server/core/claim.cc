#include "server/core/claim.h"

namespace gs {

ClaimVerdict judgeClaim(HostOrigin origin, Lived lived) {
  switch (origin) {
    case HostOrigin::kNone:
      return ClaimVerdict::kTakes;
    case HostOrigin::kAfterWaiting:
      return lived == Lived::kYes ? ClaimVerdict::kTakes : ClaimVerdict::kYields;
    case HostOrigin::kByClaim:
      return ClaimVerdict::kYields;
    case HostOrigin::kOther:
      break;
  }
  return ClaimVerdict::kNone;
}

}  // namespace gs

#include "server/core/claim.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

TEST(Claim, GoesByWhatTheRecordCannotHaveToldAnyHost) {
  struct Row {
    HostOrigin origin;
    Lived lived;
    ClaimVerdict verdict;
    const char* reason;
  };
  const Row rows[] = {
      {HostOrigin::kNone, Lived::kYes, ClaimVerdict::kTakes, "it was placed by the database that is lost"},
      {HostOrigin::kNone, Lived::kNo, ClaimVerdict::kTakes, "so it was, and may start there at any moment"},
      {HostOrigin::kAfterWaiting, Lived::kYes, ClaimVerdict::kTakes, "it lived there before it was placed here"},
      {HostOrigin::kAfterWaiting, Lived::kNo, ClaimVerdict::kYields, "it has a host, and would have a second one"},
      {HostOrigin::kByClaim, Lived::kYes, ClaimVerdict::kYields, "it is that host's that had it before, which is settled once"},
      {HostOrigin::kByClaim, Lived::kNo, ClaimVerdict::kYields, "likewise"},
      {HostOrigin::kOther, Lived::kYes, ClaimVerdict::kNone, "it may have been moved by an archive that is not known here"},
      {HostOrigin::kOther, Lived::kNo, ClaimVerdict::kNone, "likewise"},
  };
  for (const auto& row : rows) EXPECT_EQ(judgeClaim(row.origin, row.lived), row.verdict) << row.reason;
}

}  // namespace
}  // namespace gs

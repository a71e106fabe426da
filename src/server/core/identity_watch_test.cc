#include "server/core/identity_watch.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

SteadyTime at(int seconds) { return SteadyTime(std::chrono::seconds(100'000 + seconds)); }

TEST(IdentityWatch, TellsTwoAgentsFromOneThatLostSomething) {
  struct Row {
    const char* why;
    Takeover takeover;
    std::optional<Contradiction> last;
    int nowSeconds;
    IdentityVerdict verdict;
  };
  const Contradiction before{3, at(0)};
  const Row kRows[] = {
      {"an agent that redials names the epoch it takes over from", {5, 5, true}, {}, 0, IdentityVerdict::kFine},
      {"also when there was a contradiction before", {5, 5, true}, before, 10, IdentityVerdict::kFine},
      {"a lost HelloAck: nobody ever spoke on that epoch", {4, 5, false}, {}, 0, IdentityVerdict::kFine},
      {"lost again and again", {4, 5, false}, before, 10, IdentityVerdict::kFine},
      {"a lost journal: no epoch is named", {0, 5, true}, before, 10, IdentityVerdict::kFine},
      {"a restored server: the agent has seen more", {9, 5, true}, before, 10, IdentityVerdict::kFine},
      {"one step back is a restored machine, or the first turn of two", {4, 5, true}, {}, 0, IdentityVerdict::kContradiction},
      {"the same snapshot once more", {3, 5, true}, before, 10, IdentityVerdict::kContradiction},
      {"two that take turns", {4, 5, true}, before, 65, IdentityVerdict::kDuplicate},
      {"at the end of the window", {4, 5, true}, before, 600, IdentityVerdict::kDuplicate},
      {"two restorations on one day", {4, 5, true}, before, 601, IdentityVerdict::kContradiction},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(judgeTakeover(row.takeover, row.last, at(row.nowSeconds)), row.verdict) << row.why;
  }
}

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include "agent/sandboxes/leaks.h"

namespace gs {
namespace {

const WallTime kNow = fromUnixMillis(1'767'323'045'678);
const WallTime kOld = kNow - Millis(120'000);
const WallTime kYoung = kNow - Millis(1'000);
constexpr Millis kMinimumAge{60'000};
const SandboxId kId = SandboxId::trusted("sbx_00000000000000000000");

SandboxRecord record(DesiredState desired = DesiredState::kRunning, SandboxState told = SandboxState::kRunning) {
  SandboxRecord out;
  out.assignment.sandboxId = kId;
  out.assignment.generation = 2;
  out.assignment.desired = desired;
  out.observation.generation = 2;
  out.observation.state = told;
  out.observation.observedAt = kOld;
  return out;
}

RuntimeContainer container(WallTime createdAt = kOld, ContainerPhase phase = ContainerPhase::kRunning) {
  RuntimeContainer out;
  out.sandboxId = kId;
  out.phase = phase;
  out.createdAt = createdAt;
  out.guestBinary = "/guest/a";
  out.manifest = "sha256:aa";
  return out;
}

struct Row {
  std::string why;
  HostPicture picture;
  std::vector<LeakKind> found;
};

TEST(FindLeaks, EveryRowOfTheTable) {
  using enum LeakKind;
  const Row rows[] = {
      {"an empty host", {}, {}},
      {"a sandbox with all that it needs",
       {kNow, {record()}, {container()}, {{kId.text(), kOld}}, {}, {}, {{"/guest/a", kOld}}, {"gstacks.local/blueprint:aa"}},
       {}},
      {"nobody knows this container", {kNow, {}, {container()}, {}, {}, {}, {}, {}}, {kContainerWithoutRecord}},
      {"the record of a young one may be on its way", {kNow, {}, {container(kYoung)}, {}, {}, {}, {}, {}}, {}},
      {"its folder is not a second leak", {kNow, {}, {container()}, {{kId.text(), kOld}}, {}, {}, {}, {}}, {kContainerWithoutRecord}},
      {"told of as running and gone", {kNow, {record()}, {}, {}, {}, {}, {}, {}}, {kRecordWithoutContainer}},
      {"still being made", {kNow, {record(DesiredState::kRunning, SandboxState::kProvisioning)}, {}, {}, {}, {}, {}, {}}, {}},
      {"deleted and not yet acknowledged", {kNow, {record(DesiredState::kDeleted, SandboxState::kDeleted)}, {}, {}, {}, {}, {}, {}}, {}},
      {"a folder of nobody", {kNow, {}, {}, {{kId.text(), kOld}}, {}, {}, {}, {}}, {kRunDirWithoutRecord}},
      {"a young folder", {kNow, {}, {}, {{kId.text(), kYoung}}, {}, {}, {}, {}}, {}},
      {"deaf although it runs", {kNow, {record()}, {container()}, {}, {{kId.text(), kOld}}, {}, {}, {}}, {kStaleSocket}},
      {"deaf because it ended",
       {kNow, {record()}, {container(kOld, ContainerPhase::kExited)}, {}, {{kId.text(), kOld}}, {}, {}, {}},
       {}},
      {"half a download", {kNow, {}, {}, {}, {}, {{"aa.x", kOld}}, {}, {}}, {kCacheLeftover}},
      {"an old guest", {kNow, {record()}, {container()}, {}, {}, {}, {{"/guest/b", kOld}}, {}}, {kUnusedGuestBinary}},
      {"left of archiving something else", {kNow, {record()}, {container()}, {}, {}, {}, {}, {}, {{kId.text(), kOld}}}, {kLayerLeftover}},
      {"the log of a sandbox that is gone", {kNow, {}, {}, {}, {}, {}, {}, {}, {}, {{kId.text(), kOld}}}, {kLogLeftover}},
      {"the log of one that is here", {kNow, {record()}, {container()}, {}, {}, {}, {}, {}, {}, {{kId.text(), kOld}}}, {}},
      {"left of archiving what is gone", {kNow, {}, {}, {}, {}, {}, {}, {}, {{kId.text(), kOld}}}, {kLayerLeftover}},
      {"being archived",
       {kNow, {record(DesiredState::kArchived, SandboxState::kStopped)}, {container()}, {}, {}, {}, {}, {}, {{kId.text(), kOld}}},
       {}},
      {"an image of nothing", {kNow, {}, {}, {}, {}, {}, {}, {"gstacks.local/blueprint:bb"}}, {kUnusedImage}},
  };
  for (const auto& row : rows) {
    auto picture = row.picture;
    picture.takenAt = kNow;
    std::vector<LeakKind> found;
    for (const auto& leak : findLeaks(picture, kMinimumAge)) found.push_back(leak.kind);
    EXPECT_EQ(found, row.found) << row.why;
  }
}

TEST(FindLeaks, DiskUseIsANoteAndNoLeak) {
  EXPECT_EQ(weightOf(LeakKind::kUnusedImage), LeakWeight::kNote);
  EXPECT_EQ(weightOf(LeakKind::kUnusedGuestBinary), LeakWeight::kNote);
  EXPECT_EQ(weightOf(LeakKind::kRunDirWithoutRecord), LeakWeight::kLeak);
}

}  // namespace
}  // namespace gs

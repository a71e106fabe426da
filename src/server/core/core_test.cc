#include <gtest/gtest.h>

#include "server/core/fault.h"
#include "server/core/sandbox_view.h"

namespace gs {
namespace {

TEST(Fault, SurvivesItsTextForm) {
  const struct {
    const char* why;
    std::string line;
    Fault expected;
  } rows[] = {
      {"a place and a sentence", faultLine("/resources/pids", "must be at least 16"), {"/resources/pids", "must be at least 16"}},
      {"the whole body", faultLine("", "is not JSON"), {"", "is not JSON"}},
      {"the separator in a sentence stays there", faultLine("/a", "b: c"), {"/a", "b: c"}},
      {"a member name with the separator in it is cut back", faultLine("/env/x: y", "bad"), {"/env", "bad"}},
      {"a line that nobody made for this", "disk full: try later", {"", "disk full: try later"}},
  };
  for (const auto& row : rows) EXPECT_EQ(parseFaultLine(row.line), row.expected) << row.why;
  EXPECT_EQ(pointerToken("a/b~c"), "a~1b~0c");
}

TEST(SandboxView, ShowsWhatAClientMayRelyOn) {
  using enum SandboxState;
  const HostHearing heard{HostState::kConnected, "rack", WallTime{}};
  const HostHearing unheard{HostState::kDisconnected, "rack", WallTime{}};
  const struct {
    const char* why;
    DesiredState desired;
    SandboxState observed;
    const char* observedReason;
    const HostHearing& host;
    SandboxState state;
    const char* reason;
  } rows[] = {
      {"all is well", DesiredState::kRunning, kRunning, "", heard, kRunning, ""},
      {"a left-over reason goes when all is well", DesiredState::kRunning, kRunning, "provisioning", heard, kRunning, ""},
      {"an unheard host's sandbox may well run", DesiredState::kRunning, kRunning, "", unheard, kUnknown, "host_disconnected"},
      {"or may be stopped", DesiredState::kStopped, kStopped, "stopped_by_user", unheard, kUnknown, "host_disconnected"},
      {"deletion shows at once", DesiredState::kDeleted, kRunning, "", heard, kDeleting, "deletion_requested"},
      {"on an unheard host too", DesiredState::kDeleted, kRunning, "", unheard, kDeleting, "host_disconnected"},
      {"what hinders a deletion is told", DesiredState::kDeleted, kUnknown, "runtime_unavailable", heard, kDeleting, "runtime_unavailable"},
      {"every difference has a reason", DesiredState::kRunning, kPlacing, "", heard, kPlacing, "pending_placement"},
      {"while it stops", DesiredState::kStopped, kRunning, "", heard, kRunning, "stop_requested"},
      {"an end keeps its reason", DesiredState::kStopped, kStopped, "stopped_by_user", heard, kStopped, "stopped_by_user"},
      {"the host's reason wins", DesiredState::kRunning, kFailed, "oom_killed", heard, kFailed, "oom_killed"},
  };
  for (const auto& row : rows) {
    SandboxRecord record;
    record.desired = row.desired;
    record.state = row.observed;
    record.reason = row.observedReason;
    record.observedGeneration = 1;
    showToClients(record, row.host);
    EXPECT_EQ(record.state, row.state) << row.why;
    EXPECT_EQ(record.reason, row.reason) << row.why;
  }
}

}  // namespace
}  // namespace gs

#include "server/core/death_certificate.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

TEST(DeathCertificate, TakesTheHostsWordAndElseWhatFollowsFromTheRest) {
  const struct {
    const char* why;
    ExitCause given;
    SandboxState state;
    const char* reason;
    bool oomKilled;
    ExitCause expected;
  } rows[] = {
      {"the host knows best", ExitCause::kKilled, SandboxState::kFailed, "workload_exited", false, ExitCause::kKilled},
      {"the kernel's mark", ExitCause::kUnspecified, SandboxState::kFailed, "workload_exited", true, ExitCause::kOutOfMemory},
      {"the reason says it", ExitCause::kUnspecified, SandboxState::kFailed, "oom_killed", false, ExitCause::kOutOfMemory},
      {"by itself, well", ExitCause::kUnspecified, SandboxState::kStopped, "workload_exited", false, ExitCause::kExited},
      {"by itself, badly", ExitCause::kUnspecified, SandboxState::kFailed, "workload_exited", false, ExitCause::kExited},
      {"a stop", ExitCause::kUnspecified, SandboxState::kStopped, "stopped_by_user", false, ExitCause::kStopped},
      {"a reboot", ExitCause::kUnspecified, SandboxState::kStarting, "host_restarted", false, ExitCause::kHostRestarted},
      {"the engine", ExitCause::kUnspecified, SandboxState::kStarting, "runtime_restarted", false, ExitCause::kRuntimeLost},
      {"who knows", ExitCause::kUnspecified, SandboxState::kFailed, "guest_lost", false, ExitCause::kUnspecified},
  };
  for (const auto& row : rows) {
    Observation o;
    o.state = row.state;
    o.reason = row.reason;
    o.exit = ExitInfo{1, 0, row.oomKilled, {}, row.given};
    EXPECT_EQ(causeOf(o), row.expected) << row.why;
    o.exit.reset();
    EXPECT_EQ(causeOf(o), ExitCause::kUnspecified) << row.why << ", without an end";
  }
}

TEST(DeathCertificate, KeepsTheCauseOfAnEndThatIsToldAgain) {
  Observation o;
  o.state = SandboxState::kStopped;
  o.reason = "stopped_by_user";
  o.exit = ExitInfo{3, 0, false, fromUnixMillis(7), ExitCause::kUnspecified};
  std::optional<ExitInfo> known = o.exit;
  known->cause = ExitCause::kExited;
  EXPECT_EQ(causeOf(o, known), ExitCause::kExited) << "it had ended before anybody wished it";
  known->at = fromUnixMillis(6);
  EXPECT_EQ(causeOf(o, known), ExitCause::kStopped) << "another end";
}

TEST(DeathCertificate, NamesWhoEndedIt) {
  const auto sandbox = SandboxId::make();
  const auto host = HostId::make();
  const struct {
    ExitCause cause;
    std::string expected;
  } rows[] = {
      {ExitCause::kExited, sandbox.text()},     {ExitCause::kOutOfMemory, "kernel"},
      {ExitCause::kStopped, "usr_a/key_b"},     {ExitCause::kDisconnected, host.text()},
      {ExitCause::kHostRestarted, host.text()}, {ExitCause::kRuntimeLost, host.text()},
      {ExitCause::kKilled, host.text()},        {ExitCause::kUnspecified, ""},
  };
  for (const auto& row : rows) EXPECT_EQ(enderOf(row.cause, sandbox, host, "usr_a/key_b"), row.expected) << exitCauseName(row.cause);
}

}  // namespace
}  // namespace gs

#include "server/core/death_certificate.h"

namespace gs {

ExitCause causeOf(const Observation& o, const std::optional<ExitInfo>& before) {
  if (!o.exit) return ExitCause::kUnspecified;
  if (o.exit->cause != ExitCause::kUnspecified) return o.exit->cause;
  const auto end = [](const ExitInfo& exit) { return std::tie(exit.at, exit.code, exit.signal); };
  if (before && before->cause != ExitCause::kUnspecified && end(*before) == end(*o.exit)) return before->cause;
  if (o.exit->oomKilled || o.reason == "oom_killed") return ExitCause::kOutOfMemory;
  if (o.reason == "workload_exited") return ExitCause::kExited;
  if (o.state == SandboxState::kStopped && o.reason == "stopped_by_user") return ExitCause::kStopped;
  if (o.reason == "host_restarted") return ExitCause::kHostRestarted;
  if (o.reason == "runtime_restarted") return ExitCause::kRuntimeLost;
  return ExitCause::kUnspecified;
}

std::string enderOf(ExitCause cause, const SandboxId& sandbox, const HostId& host, std::string_view wisher) {
  switch (cause) {
    case ExitCause::kExited: return sandbox.text();
    case ExitCause::kOutOfMemory: return "kernel";
    case ExitCause::kStopped: return std::string(wisher);
    case ExitCause::kDisconnected:
    case ExitCause::kHostRestarted:
    case ExitCause::kRuntimeLost:
    case ExitCause::kKilled: return host.text();
    case ExitCause::kHostLost:
    case ExitCause::kUnspecified: break;
  }
  return {};
}

ExitInfo lostWithHost(WallTime at) {
  ExitInfo out;
  out.code = -1;  // not known
  out.at = at;
  out.cause = ExitCause::kHostLost;
  return out;
}

}  // namespace gs

#include "server/core/sandbox_event.h"

namespace gs {
namespace {

struct NamedKind {
  SandboxEventKind kind;
  std::string_view name;
};
constexpr NamedKind kKinds[] = {
    {SandboxEventKind::kCreated, "created"},
    {SandboxEventKind::kPlaced, "placed"},
    {SandboxEventKind::kStartRequested, "start_requested"},
    {SandboxEventKind::kStopRequested, "stop_requested"},
    {SandboxEventKind::kDeleteRequested, "delete_requested"},
    {SandboxEventKind::kArchiveRequested, "archive_requested"},
    {SandboxEventKind::kReprovisionRequested, "reprovision_requested"},
    {SandboxEventKind::kRestoreRequested, "restore_requested"},
    {SandboxEventKind::kArchived, "archived"},
    {SandboxEventKind::kObserved, "observed"},
    {SandboxEventKind::kRefused, "refused"},
    {SandboxEventKind::kHostDisconnected, "host_disconnected"},
    {SandboxEventKind::kHostConnected, "host_connected"},
    {SandboxEventKind::kHostRemoved, "host_removed"},
    {SandboxEventKind::kDeleted, "deleted"},
    {SandboxEventKind::kAdopted, "adopted"},
    {SandboxEventKind::kRecovered, "recovered"},
};

}  // namespace

std::string_view sandboxEventKindName(SandboxEventKind kind) {
  for (const auto& row : kKinds) {
    if (row.kind == kind) return row.name;
  }
  return "observed";
}

Result<SandboxEventKind> parseSandboxEventKind(std::string_view name) {
  for (const auto& row : kKinds) {
    if (row.name == name) return row.kind;
  }
  return fail(ErrorCode::kInvalidArgument, "no such kind of event");
}

SandboxEventKind wishEventKind(DesiredState desired) {
  switch (desired) {
    case DesiredState::kRunning: return SandboxEventKind::kStartRequested;
    case DesiredState::kStopped: return SandboxEventKind::kStopRequested;
    case DesiredState::kDeleted: return SandboxEventKind::kDeleteRequested;
    case DesiredState::kArchived: return SandboxEventKind::kArchiveRequested;
  }
  return SandboxEventKind::kStartRequested;
}

bool looksDifferent(const SandboxRecord& before, const SandboxRecord& after) {
  const auto view = [](const SandboxRecord& s) {
    return std::tie(s.desired, s.state, s.reason, s.message, s.exit, s.exitBy, s.generation, s.observedGeneration,
                    s.restarts, s.startedAt, s.hostId);
  };
  return view(before) != view(after);
}

}  // namespace gs

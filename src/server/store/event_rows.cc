#include "server/store/event_rows.h"

namespace gs::sql {

Status recordEvent(Database& db, const SandboxRow& row, SandboxEventKind kind, std::string_view actor, WallTime now) {
  return recordEvent(db, row.shown(), kind, actor, now);
}

Status recordEvent(Database& db, const SandboxRecord& s, SandboxEventKind kind, std::string_view actor, WallTime now) {
  std::vector<SqlValue> values{bind(s.tenantId),
                               bind(s.id),
                               s.name,
                               s.hostId.empty() ? SqlValue() : bind(s.hostId),
                               bind(now),
                               std::string(sandboxEventKindName(kind)),
                               std::string(actor),
                               std::string(desiredStateName(s.desired)),
                               std::string(sandboxStateName(s.state)),
                               s.reason,
                               s.message,
                               s.generation,
                               s.observedGeneration,
                               s.restarts,
                               std::string(exitCauseName(s.exit ? s.exit->cause : ExitCause::kUnspecified)),
                               s.exitBy};
  if (s.exit) {
    values.insert(values.end(), {std::int64_t{s.exit->code}, std::int64_t{s.exit->signal},
                                 std::int64_t{s.exit->oomKilled ? 1 : 0}, bind(s.exit->at)});
  } else {
    values.insert(values.end(), 4, std::monostate{});
  }
  GS_CHECK(db.execute("INSERT INTO sandbox_event (tenant_id, sandbox_id, name, host_id, at, kind, actor, desired, state, "
                      "reason, message, generation, observed_generation, restarts, exit_cause, exit_by, exit_code, "
                      "exit_signal, exit_oom_killed, exit_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
                      "$13, $14, $15, $16, $17, $18, $19, $20)",
                      values));
  return {};
}

Result<std::int64_t> recordEventsOnHost(Database& db, const HostId& host, SandboxEventKind kind, std::string_view actor,
                                        WallTime now) {
  std::vector<SandboxRow> rows;
  GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 ORDER BY s.id", {bind(host)},
                    [&](const Row& row) { rows.push_back(sandboxRowFrom(row)); }));
  for (const auto& row : rows) GS_CHECK(recordEvent(db, row, kind, actor, now));
  return static_cast<std::int64_t>(rows.size());
}

// As showToClients() shows them then.
Status recordAllUnheard(Database& db, WallTime now) {
  GS_CHECK(db.execute(
      "INSERT INTO sandbox_event (tenant_id, sandbox_id, name, host_id, at, kind, actor, desired, state, reason, message, "
      "generation, observed_generation, restarts, exit_cause, exit_by, exit_code, exit_signal, exit_oom_killed, exit_at) "
      "SELECT s.tenant_id, s.id, s.name, s.host_id, $1, $2, $3, s.desired, "
      "CASE WHEN s.desired = 'deleted' THEN 'deleting' ELSE 'unknown' END, 'host_disconnected', "
      "'the server was restarted and has not heard host ' || h.name || ' since; what runs there runs on', s.generation, "
      "s.observed_generation, s.restarts, s.exit_cause, s.exit_by, s.exit_code, s.exit_signal, s.exit_oom_killed, s.exit_at "
      "FROM sandbox s JOIN host h ON h.id = s.host_id WHERE h.state = 'connected' ORDER BY s.id",
      {bind(now), std::string(sandboxEventKindName(SandboxEventKind::kHostDisconnected)), std::string(kSystemActor)}));
  return {};
}

}  // namespace gs::sql

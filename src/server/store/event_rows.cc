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
  appendExit(values, s.exit);
  GS_CHECK(db.execute("INSERT INTO sandbox_event (tenant_id, sandbox_id, name, host_id, at, kind, actor, desired, state, "
                      "reason, message, generation, observed_generation, restarts, exit_cause, exit_by, exit_code, "
                      "exit_signal, exit_oom_killed, exit_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
                      "$13, $14, $15, $16, $17, $18, $19, $20)",
                      values));
  return {};
}

Status recordHostHeard(Database& db, const HostRecord& host, SandboxEventKind kind, std::string_view actor,
                       std::string_view why, WallTime now) {
  std::vector<SandboxRow> rows;
  GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 ORDER BY s.id", {bind(host.id)},
                    [&](const Row& row) { rows.push_back(sandboxRowFrom(row)); }));
  if (rows.empty()) return {};
  for (const auto& row : rows) GS_CHECK(recordEvent(db, row, kind, actor, now));
  const bool lost = kind == SandboxEventKind::kHostDisconnected;
  return audit(db, host.tenantId, std::string(actor),
               {lost ? "host.disconnected" : "host.connected", host.id.text(),
                fmt::format("{}{}, {} sandboxes {}", host.name, why.empty() ? "" : fmt::format(": {}", why), rows.size(),
                            lost ? "unknown" : "known again")},
               now);
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
  GS_CHECK(db.execute(
      "INSERT INTO audit (tenant_id, actor, action, subject, detail, at) SELECT h.tenant_id, $1, 'host.disconnected', h.id, "
      "h.name || ': server_restarted, ' || COUNT(*) || ' sandboxes unknown', $2 FROM host h JOIN sandbox s ON s.host_id = h.id "
      "WHERE h.state = 'connected' GROUP BY h.id, h.tenant_id, h.name ORDER BY h.id",
      {std::string(kSystemActor), bind(now)}));
  return {};
}

}  // namespace gs::sql

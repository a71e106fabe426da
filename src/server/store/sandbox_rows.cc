#include "server/store/sandbox_rows.h"

#include "server/store/event_rows.h"
#include "server/store/host_rows.h"

namespace gs::sql {
namespace {

SandboxSpec specFrom(const Row& row) {
  SandboxSpec out;
  out.name = row.text(4);
  out.blueprintName = row.text(6);
  out.manifest = Digest::parse(row.text(7)).value_or(Digest{});
  out.runtime = row.text(8);
  out.command = unpackStrings(row.text(9));
  out.env = unpackPairs(row.text(10));
  out.workingDir = row.text(11);
  out.user = row.text(12);
  out.resources.cpuMillis = static_cast<std::uint32_t>(row.integer(13));
  out.resources.memoryBytes = static_cast<std::uint64_t>(row.integer(14));
  out.resources.pids = static_cast<std::uint32_t>(row.integer(15));
  out.restart = {parseRestartMode(row.text(37)).value_or(RestartMode::kNever), static_cast<std::uint32_t>(row.integer(38))};
  out.stopAfterDisconnect = Seconds(row.integer(40));
  return out;
}

std::string_view verbFor(DesiredState desired) {
  switch (desired) {
    case DesiredState::kRunning: return "sandbox.start";
    case DesiredState::kStopped: return "sandbox.stop";
    case DesiredState::kDeleted: return "sandbox.delete";
    case DesiredState::kArchived: return "sandbox.archive";
  }
  return "sandbox.update";
}

SandboxDemands demandsFrom(const Row& row) {
  SandboxDemands out;
  if (!row.isNull(41)) out.host = HostId::trusted(row.text(41));
  for (auto& [key, value] : unpackPairs(row.text(42))) out.tags.emplace(std::move(key), std::move(value));
  out.traits = unpackStrings(row.text(43));
  return out;
}

}  // namespace

SandboxRecord SandboxRow::shown() const {
  SandboxRecord out = observed;
  showToClients(out, host);
  return out;
}

SandboxRow sandboxRowFrom(const Row& row) {
  SandboxRow out;
  SandboxRecord& s = out.observed;
  s.id = SandboxId::trusted(row.text(0));
  s.tenantId = TenantId::trusted(row.text(1));
  s.clusterId = ClusterId::trusted(row.text(2));
  if (!row.isNull(3)) s.hostId = HostId::trusted(row.text(3));
  s.name = row.text(4);
  s.blueprintId = BlueprintId::trusted(row.text(5));
  s.spec = specFrom(row);
  s.desired = parseDesiredState(row.text(16)).value_or(DesiredState::kStopped);
  s.state = parseSandboxState(row.text(17)).value_or(SandboxState::kUnknown);
  s.reason = row.text(18);
  s.message = row.text(19);
  s.exit = findExitAt(row, 20, 48);
  s.generation = row.integer(24);
  s.observedGeneration = row.integer(25);
  s.sequence = row.integer(26);
  s.stopGrace = Millis(row.integer(27));
  s.startedAt = findTimeAt(row, 28);
  s.createdBy = UserId::trusted(row.text(29));
  s.createdAt = timeAt(row, 30);
  s.updatedAt = timeAt(row, 31);
  s.version = row.integer(32);
  // Without a host there is nobody that could be unheard.
  if (!row.isNull(33)) out.host = {parseHostState(row.text(33)), row.text(34), findTimeAt(row, 35)};
  s.rootGeneration = row.integer(36);
  s.restarts = row.integer(39);
  s.demands = demandsFrom(row);
  s.expiresAt = findTimeAt(row, 44);
  s.idleStop = Seconds(row.integer(45));
  s.activeAt = findTimeAt(row, 46);
  s.desiredBy = row.text(47);
  s.exitBy = row.text(49);
  if (!row.isNull(53)) {
    s.archive = SandboxArchive{Digest::parse(row.text(50)).value_or(Digest{}), row.integer(51), row.integer(52), timeAt(row, 53)};
  }
  return out;
}

Result<SandboxRow> readSandbox(Database& db, const TenantId& tenant, const SandboxId& id) {
  GS_TRY(auto found, db.queryOne(std::string(kSandboxSelect) + "s.tenant_id = $1 AND s.id = $2",
                                 {bind(tenant), bind(id)}, sandboxRowFrom));
  if (!found) return fail(noSuch("sandbox", id.text()));
  return std::move(*found);
}

Result<SandboxRow> readSandboxOn(Database& db, const HostId& host, const SandboxId& id) {
  GS_TRY(auto found, db.queryOne(std::string(kSandboxSelect) + "s.host_id = $1 AND s.id = $2", {bind(host), bind(id)},
                                 sandboxRowFrom));
  if (!found) return fail(noSuch("sandbox", id.text()));
  return std::move(*found);
}

Status updateSandbox(Database& db, const SandboxRecord& s) {
  std::vector<SqlValue> values{bind(s.id),
                               std::string(desiredStateName(s.desired)),
                               std::string(sandboxStateName(s.state)),
                               s.reason,
                               s.message,
                               s.generation,
                               s.observedGeneration,
                               s.sequence,
                               static_cast<std::int64_t>(s.stopGrace.count()),
                               bind(s.startedAt),
                               bind(s.updatedAt),
                               s.version,
                               s.hostId.empty() ? SqlValue() : bind(s.hostId),
                               bind(s.clusterId),
                               bind(s.blueprintId),
                               s.spec.blueprintName,
                               s.spec.manifest.text(),
                               s.rootGeneration,
                               s.restarts,
                               bind(s.expiresAt),
                               bind(s.activeAt),
                               s.desiredBy,
                               s.exitBy,
                               std::string(exitCauseName(s.exit ? s.exit->cause : ExitCause::kUnspecified))};
  appendExit(values, s.exit);
  GS_CHECK(db.execute(
      "UPDATE sandbox SET desired = $2, state = $3, reason = $4, message = $5, generation = $6, "
      "observed_generation = $7, sequence = $8, stop_grace_ms = $9, started_at = $10, updated_at = $11, version = $12, "
      "host_id = $13, cluster_id = $14, blueprint_id = $15, blueprint_name = $16, manifest_digest = $17, "
      "root_generation = $18, restarts = $19, expires_at = $20, active_at = $21, desired_by = $22, exit_by = $23, "
      "exit_cause = $24, exit_code = $25, exit_signal = $26, exit_oom_killed = $27, exit_at = $28 WHERE id = $1",
      values));
  return {};
}

// The host may have seen a later generation than a database that came from a backup.
std::int64_t nextGeneration(const SandboxRecord& s) { return std::max(s.generation, s.observedGeneration) + 1; }

Status wish(Database& db, const Actor& actor, SandboxRow& row, DesiredState desired, Millis stopGrace, WallTime now) {
  return wish(db, actor, row, desired, stopGrace, now, {verbFor(desired), wishEventKind(desired)});
}

Status wish(Database& db, const Actor& actor, SandboxRow& row, DesiredState desired, Millis stopGrace, WallTime now,
            WishName name) {
  SandboxRecord& s = row.observed;
  s.desired = desired;
  s.desiredBy = auditActor(actor);
  if (desired == DesiredState::kRunning) s.activeAt = now;
  s.generation = nextGeneration(s);
  if (desired == DesiredState::kStopped) s.stopGrace = stopGrace;
  s.updatedAt = now;
  s.version += 1;
  GS_CHECK(updateSandbox(db, s));
  GS_CHECK(recordEvent(db, row, name.event, auditActor(actor), now));
  return audit(db, actor, {name.audit, s.id.text(), s.name}, now);
}

Status eraseSandbox(Database& db, const SandboxId& id) {
  GS_CHECK(db.execute("DELETE FROM sandbox_archive WHERE sandbox_id = $1", {bind(id)}));
  GS_CHECK(db.execute("DELETE FROM sandbox WHERE id = $1", {bind(id)}));
  return {};
}

}  // namespace gs::sql

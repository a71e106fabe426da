#include "server/store/sandbox_rows.h"

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
  return out;
}

std::string_view verbFor(DesiredState desired) {
  switch (desired) {
    case DesiredState::kRunning: return "sandbox.start";
    case DesiredState::kStopped: return "sandbox.stop";
    case DesiredState::kDeleted: return "sandbox.delete";
  }
  return "sandbox.update";
}

std::optional<ExitInfo> exitFrom(const Row& row) {
  if (row.isNull(23)) return std::nullopt;
  return ExitInfo{static_cast<int>(row.integer(20)), static_cast<int>(row.integer(21)), row.integer(22) != 0,
                  timeAt(row, 23)};
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
  s.hostId = HostId::trusted(row.text(3));
  s.name = row.text(4);
  s.blueprintId = BlueprintId::trusted(row.text(5));
  s.spec = specFrom(row);
  s.desired = parseDesiredState(row.text(16)).value_or(DesiredState::kStopped);
  s.state = parseSandboxState(row.text(17)).value_or(SandboxState::kUnknown);
  s.reason = row.text(18);
  s.message = row.text(19);
  s.exit = exitFrom(row);
  s.generation = row.integer(24);
  s.observedGeneration = row.integer(25);
  s.sequence = row.integer(26);
  s.stopGrace = Millis(row.integer(27));
  s.startedAt = findTimeAt(row, 28);
  s.createdBy = UserId::trusted(row.text(29));
  s.createdAt = timeAt(row, 30);
  s.updatedAt = timeAt(row, 31);
  s.version = row.integer(32);
  out.host = {parseHostState(row.text(33)), row.text(34), findTimeAt(row, 35)};
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
                               s.version};
  if (s.exit) {
    values.insert(values.end(), {std::int64_t{s.exit->code}, std::int64_t{s.exit->signal},
                                 std::int64_t{s.exit->oomKilled ? 1 : 0}, bind(s.exit->at)});
  } else {
    values.insert(values.end(), 4, std::monostate{});
  }
  GS_CHECK(db.execute(
      "UPDATE sandbox SET desired = $2, state = $3, reason = $4, message = $5, generation = $6, "
      "observed_generation = $7, sequence = $8, stop_grace_ms = $9, started_at = $10, updated_at = $11, version = $12, "
      "exit_code = $13, exit_signal = $14, exit_oom_killed = $15, exit_at = $16 WHERE id = $1",
      values));
  return {};
}

Status wish(Database& db, const Actor& actor, SandboxRecord& s, DesiredState desired, Millis stopGrace, WallTime now) {
  s.desired = desired;
  // The host may have seen a later generation than a database that came from a backup.
  s.generation = std::max(s.generation, s.observedGeneration) + 1;
  if (desired == DesiredState::kStopped) s.stopGrace = stopGrace;
  s.updatedAt = now;
  s.version += 1;
  GS_CHECK(updateSandbox(db, s));
  return audit(db, actor, {verbFor(desired), s.id.text(), s.name}, now);
}

Status eraseSandbox(Database& db, const SandboxId& id) {
  GS_CHECK(db.execute("DELETE FROM sandbox WHERE id = $1", {bind(id)}));
  return {};
}

}  // namespace gs::sql

#include "server/store/host_rows.h"

#include "wire/messages.h"

namespace gs::sql {
namespace {

constexpr std::array<std::string_view, 8> kTelemetryColumns{
    "memory_available_bytes", "disk_free_bytes", "uptime_seconds",  "load1_milli",
    "load5_milli",            "load15_milli",    "agent_rss_bytes", "sandboxes_running"};

std::uint64_t unsignedAt(const Row& row, int column) { return static_cast<std::uint64_t>(row.integer(column)); }
std::uint32_t smallAt(const Row& row, int column) { return static_cast<std::uint32_t>(row.integer(column)); }

}  // namespace

HostState parseHostState(std::string_view name) {
  if (name == "connected") return HostState::kConnected;
  return name == "revoked" ? HostState::kRevoked : HostState::kDisconnected;
}

HostRecord hostFrom(const Row& row) {
  HostRecord out;
  out.id = HostId::trusted(row.text(0));
  out.tenantId = TenantId::trusted(row.text(1));
  out.clusterId = ClusterId::trusted(row.text(2));
  out.name = row.text(3);
  out.state = parseHostState(row.text(4));
  out.disconnectReason = row.text(5);
  out.connectedAt = findTimeAt(row, 6);
  out.lastSeenAt = findTimeAt(row, 7);
  out.epoch = row.integer(8);
  out.protocol = row.integer(9);
  out.features = unpackStrings(row.text(10));
  // Facts were checked before they were written; what this version cannot read is shown as not reported.
  out.facts = decodeHostFacts(row.text(11)).value_or(HostFacts{});
  out.telemetry.memoryAvailableBytes = unsignedAt(row, 12);
  out.telemetry.diskFreeBytes = unsignedAt(row, 13);
  out.telemetry.uptimeSeconds = unsignedAt(row, 14);
  out.telemetry.load1Milli = smallAt(row, 15);
  out.telemetry.load5Milli = smallAt(row, 16);
  out.telemetry.load15Milli = smallAt(row, 17);
  out.telemetry.agentRssBytes = unsignedAt(row, 18);
  out.telemetry.sandboxesRunning = smallAt(row, 19);
  for (auto& [key, value] : unpackPairs(row.text(20))) out.tags.emplace(std::move(key), std::move(value));
  out.createdAt = timeAt(row, 21);
  out.version = row.integer(22);
  out.sandboxCount = row.integer(23);
  out.cordoned = row.integer(24) != 0;
  out.trial = {row.integer(25), findTimeAt(row, 26), findTimeAt(row, 27)};
  out.duplicateSince = findTimeAt(row, 28);
  return out;
}

Result<HostRecord> readHost(Database& db, const TenantId& tenant, const HostId& id) {
  GS_TRY(auto found, db.queryOne(kHostSelect + "h.tenant_id = $1 AND h.id = $2 AND h.removed_at IS NULL",
                                 {bind(tenant), bind(id)}, hostFrom));
  if (!found) return fail(noSuch("host", id.text()));
  return std::move(*found);
}

Result<std::optional<HostRecord>> findHost(Database& db, const HostId& id) {
  return db.queryOne(kHostSelect + "h.id = $1", {bind(id)}, hostFrom);
}

Result<std::vector<HostLoad>> readHostLoads(Database& db, const TenantId& tenant, const Store::HostQuery& query) {
  // One pass over the sandboxes of the tenant instead of several lookups a host: pools are large, sandboxes are few.
  std::string text = std::string(kHostColumns) +
                     ", COALESCE(l.memory, 0), COALESCE(l.cpu, 0), COALESCE(l.cached, 0), COALESCE(l.tried, 0) FROM host h "
                     "LEFT JOIN (SELECT s.host_id, SUM(s.memory_bytes) AS memory, SUM(s.cpu_millis) AS cpu, "
                     "MAX(CASE WHEN s.manifest_digest = $3 AND s.started_at IS NOT NULL THEN 1 ELSE 0 END) AS cached, "
                     "MAX(CASE WHEN s.judged = 0 AND s.placed_at > COALESCE(o.resting_since, s.placed_at) THEN 1 ELSE 0 "
                     "END) AS tried FROM sandbox s JOIN host o ON o.id = s.host_id WHERE s.tenant_id = $1 "
                     "GROUP BY s.host_id) l ON l.host_id = h.id "
                     "WHERE h.tenant_id = $1 AND h.cluster_id = $2 AND h.removed_at IS NULL";
  std::vector<SqlValue> values{bind(tenant), bind(query.cluster), query.manifest.text()};
  if (query.host) {
    text += " AND h.id = $4";
    values.push_back(bind(*query.host));
  }
  std::vector<HostLoad> out;
  GS_CHECK(db.query(text + " ORDER BY h.id", values, [&](const Row& row) {
    constexpr int kFirst = kHostColumnCount;
    out.push_back({hostFrom(row), unsignedAt(row, kFirst), unsignedAt(row, kFirst + 1), row.integer(kFirst + 2) != 0,
                   row.integer(kFirst + 3) != 0});
  }));
  return out;
}

Status writeTrial(Database& db, const HostId& id, const HostTrial& trial) {
  GS_CHECK(db.execute("UPDATE host SET failed_creations = $1, resting_since = $2, rests_until = $3 WHERE id = $4",
                      {trial.failures, bind(trial.restingSince), bind(trial.restsUntil), bind(id)}));
  return {};
}

std::string packTags(const std::map<std::string, std::string>& tags) { return packPairs({tags.begin(), tags.end()}); }

std::string telemetryAssignments(std::size_t first) {
  std::string out;
  for (const auto column : kTelemetryColumns) {
    out += fmt::format("{}{} = ${}", out.empty() ? "" : ", ", column, first++);
  }
  return out;
}

void appendTelemetry(std::vector<SqlValue>& values, const HostTelemetry& t) {
  for (const std::uint64_t value :
       {t.memoryAvailableBytes, t.diskFreeBytes, t.uptimeSeconds, std::uint64_t{t.load1Milli},
        std::uint64_t{t.load5Milli}, std::uint64_t{t.load15Milli}, t.agentRssBytes, std::uint64_t{t.sandboxesRunning}}) {
    values.push_back(bind(value));
  }
}

Error hostRevoked(const HostId& id) {
  return makeError(ErrorCode::kPermissionDenied, fmt::format("host {} was removed and its certificates are revoked", id))
      .withReason("host_revoked")
      .withFix("enroll the machine anew with a provisioning token");
}

}  // namespace gs::sql

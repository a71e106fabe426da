// Hosts in rows. Internal to store/.
#pragma once

#include "server/store/sql_rows.h"
#include "server/store/store.h"

namespace gs::sql {

inline constexpr std::string_view kHostColumns =
    "SELECT h.id, h.tenant_id, h.cluster_id, h.name, h.state, h.disconnect_reason, h.connected_at, h.last_seen_at, "
    "h.epoch, h.protocol, h.features, h.facts, h.memory_available_bytes, h.disk_free_bytes, h.uptime_seconds, "
    "h.load1_milli, h.load5_milli, h.load15_milli, h.agent_rss_bytes, h.sandboxes_running, h.tags, h.created_at, "
    "h.version, (SELECT COUNT(*) FROM sandbox s WHERE s.host_id = h.id), h.cordoned, h.failed_creations, "
    "h.resting_since, h.rests_until, h.duplicate_since";
inline constexpr int kHostColumnCount = 29;
// Starts a query for removed hosts as well; ends at the beginning of the WHERE clause.
inline const std::string kHostSelect = std::string(kHostColumns) + " FROM host h WHERE ";

[[nodiscard]] HostRecord hostFrom(const Row& row);
// Of the tenant and not removed; kNotFound.
[[nodiscard]] Result<HostRecord> readHost(Database& db, const TenantId& tenant, const HostId& id);
// Of any tenant, removed ones too; nothing when unknown.
[[nodiscard]] Result<std::optional<HostRecord>> findHost(Database& db, const HostId& id);

// The hosts of a placement, by id, each with what is promised on it.
[[nodiscard]] Result<std::vector<HostLoad>> readHostLoads(Database& db, const TenantId& tenant,
                                                          const Store::HostQuery& query);

[[nodiscard]] Status writeTrial(Database& db, const HostId& id, const HostTrial& trial);
[[nodiscard]] HostState parseHostState(std::string_view name);
[[nodiscard]] std::string packTags(const std::map<std::string, std::string>& tags);
// The assignments "column = $n, …" of telemetry, from parameter `first` on, and their values.
[[nodiscard]] std::string telemetryAssignments(std::size_t first);
void appendTelemetry(std::vector<SqlValue>& values, const HostTelemetry& telemetry);

[[nodiscard]] Error hostRevoked(const HostId& id);

}  // namespace gs::sql

// Hosts in rows. Internal to store/.
#pragma once

#include "server/store/sql_rows.h"

namespace gs::sql {

// Starts a query for removed hosts as well; ends inside the WHERE clause's beginning.
inline constexpr std::string_view kHostSelect =
    "SELECT h.id, h.tenant_id, h.cluster_id, h.name, h.state, h.disconnect_reason, h.connected_at, h.last_seen_at, "
    "h.epoch, h.protocol, h.features, h.facts, h.memory_available_bytes, h.disk_free_bytes, h.uptime_seconds, "
    "h.load1_milli, h.load5_milli, h.load15_milli, h.agent_rss_bytes, h.sandboxes_running, h.tags, h.created_at, "
    "h.version, (SELECT COUNT(*) FROM sandbox s WHERE s.host_id = h.id), "
    "(SELECT COALESCE(SUM(s.memory_bytes), 0) FROM sandbox s WHERE s.host_id = h.id) FROM host h WHERE ";
inline constexpr int kHostMemoryColumn = 24;

[[nodiscard]] HostRecord hostFrom(const Row& row);
// Of the tenant and not removed; kNotFound.
[[nodiscard]] Result<HostRecord> readHost(Database& db, const TenantId& tenant, const HostId& id);
// Of any tenant, removed ones too; nothing when unknown.
[[nodiscard]] Result<std::optional<HostRecord>> findHost(Database& db, const HostId& id);

[[nodiscard]] HostState parseHostState(std::string_view name);
[[nodiscard]] std::string packTags(const std::map<std::string, std::string>& tags);
// The assignments "column = $n, …" of telemetry, from parameter `first` on, and their values.
[[nodiscard]] std::string telemetryAssignments(std::size_t first);
void appendTelemetry(std::vector<SqlValue>& values, const HostTelemetry& telemetry);

[[nodiscard]] Error hostRevoked(const HostId& id);

}  // namespace gs::sql

// Sandboxes in rows. Internal to store/.
#pragma once

#include "server/core/sandbox_event.h"
#include "server/core/sandbox_view.h"
#include "server/store/sql_rows.h"

namespace gs::sql {

inline constexpr std::string_view kSandboxSelect =
    "SELECT s.id, s.tenant_id, s.cluster_id, s.host_id, s.name, s.blueprint_id, s.blueprint_name, s.manifest_digest, "
    "s.runtime, s.command, s.env, s.working_dir, s.run_as, s.cpu_millis, s.memory_bytes, s.pids, s.desired, s.state, "
    "s.reason, s.message, s.exit_code, s.exit_signal, s.exit_oom_killed, s.exit_at, s.generation, "
    "s.observed_generation, s.sequence, s.stop_grace_ms, s.started_at, s.created_by, s.created_at, s.updated_at, "
    "s.version, h.state, h.name, h.last_seen_at, s.root_generation, s.restart_mode, s.restart_max, s.restarts, "
    "s.stop_after_disconnect_s, s.wanted_host_id, s.wanted_tags, s.wanted_traits, s.expires_at, s.idle_stop_s, "
    "s.active_at, s.desired_by, s.exit_cause, s.exit_by, a.manifest_digest, a.size_bytes, a.layer_bytes, a.archived_at "
    "FROM sandbox s LEFT JOIN host h ON h.id = s.host_id LEFT JOIN sandbox_archive a ON a.sandbox_id = s.id WHERE ";

// The state that showToClients() gives, for filters.
inline constexpr std::string_view kShownState =
    "CASE WHEN s.desired = 'deleted' THEN 'deleting' WHEN h.state = 'disconnected' THEN 'unknown' ELSE s.state END";

struct SandboxRow {
  SandboxRecord observed;  // as it was last observed
  HostHearing host;
  [[nodiscard]] SandboxRecord shown() const;
};
[[nodiscard]] SandboxRow sandboxRowFrom(const Row& row);
[[nodiscard]] inline SandboxRecord shownSandboxFrom(const Row& row) { return sandboxRowFrom(row).shown(); }

// Of the tenant; kNotFound.
[[nodiscard]] Result<SandboxRow> readSandbox(Database& db, const TenantId& tenant, const SandboxId& id);
// On the host, whatever the tenant; kNotFound.
[[nodiscard]] Result<SandboxRow> readSandboxOn(Database& db, const HostId& host, const SandboxId& id);
// Writes what changes in a sandbox's life: desired state, observation, counters.
[[nodiscard]] Status updateSandbox(Database& db, const SandboxRecord& record);
// A new wish in a new generation, written, logged and audited. The caller has checked that it may be wished.
[[nodiscard]] Status wish(Database& db, const Actor& actor, SandboxRow& row, DesiredState desired, Millis stopGrace,
                          WallTime now);
// The same for a wish that has a name besides its desired state: in the audit, and as an event.
struct WishName {
  std::string_view audit;
  SandboxEventKind event;
};
[[nodiscard]] Status wish(Database& db, const Actor& actor, SandboxRow& row, DesiredState desired, Millis stopGrace,
                          WallTime now, WishName name);
// The generation that the next wish will have.
[[nodiscard]] std::int64_t nextGeneration(const SandboxRecord& record);
// A wish for the sandbox of `row`, as Store::setDesired says, in the transaction of the caller.
[[nodiscard]] Result<SandboxRecord> applyWish(Database& db, const Actor& actor, SandboxRow row, DesiredState desired,
                                              Millis stopGrace, WallTime now);
[[nodiscard]] Status eraseSandbox(Database& db, const SandboxId& id);

}  // namespace gs::sql

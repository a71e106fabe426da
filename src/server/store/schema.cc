#include "server/store/schema.h"

namespace gs {
namespace {

// Times are Unix milliseconds. Names are unique among what is alive, hence the partial indexes. Clusters and hosts are
// marked, not deleted, because tokens and sandboxes go on naming them and an id is never used twice. Every list is read
// newest first by (created_at, id) within a tenant; each has its index.
constexpr std::string_view kFirst = R"sql(
CREATE TABLE tenant (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at BIGINT NOT NULL);

CREATE TABLE user_account (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), email TEXT NOT NULL, role TEXT NOT NULL,
  created_at BIGINT NOT NULL, UNIQUE (tenant_id, email));

CREATE TABLE api_key (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), user_id TEXT NOT NULL REFERENCES user_account(id),
  name TEXT NOT NULL, role TEXT NOT NULL, secret_hash BYTEA NOT NULL, created_at BIGINT NOT NULL,
  last_used_at BIGINT, revoked_at BIGINT);
CREATE UNIQUE INDEX api_key_name ON api_key (tenant_id, name) WHERE revoked_at IS NULL;
CREATE INDEX api_key_list ON api_key (tenant_id, created_at, id);

CREATE TABLE cluster (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), name TEXT NOT NULL, kind TEXT NOT NULL,
  is_default SMALLINT NOT NULL, created_at BIGINT NOT NULL, version BIGINT NOT NULL, deleted_at BIGINT);
CREATE UNIQUE INDEX cluster_name ON cluster (tenant_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX cluster_default ON cluster (tenant_id) WHERE is_default = 1;
CREATE INDEX cluster_list ON cluster (tenant_id, created_at, id);

CREATE TABLE provisioning_token (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), cluster_id TEXT NOT NULL REFERENCES cluster(id),
  name TEXT NOT NULL, secret_hash BYTEA NOT NULL, max_uses BIGINT NOT NULL, uses BIGINT NOT NULL,
  created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, revoked_at BIGINT, CHECK (uses <= max_uses));
CREATE UNIQUE INDEX token_name ON provisioning_token (tenant_id, name) WHERE revoked_at IS NULL AND name <> '';
CREATE INDEX token_list ON provisioning_token (tenant_id, created_at, id);
CREATE INDEX token_cluster ON provisioning_token (cluster_id);

CREATE TABLE host (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), cluster_id TEXT NOT NULL REFERENCES cluster(id),
  name TEXT NOT NULL, state TEXT NOT NULL, disconnect_reason TEXT NOT NULL, connected_at BIGINT, last_seen_at BIGINT,
  epoch BIGINT NOT NULL, protocol BIGINT NOT NULL, features TEXT NOT NULL, facts BYTEA NOT NULL,
  memory_available_bytes BIGINT NOT NULL, disk_free_bytes BIGINT NOT NULL, uptime_seconds BIGINT NOT NULL,
  load1_milli BIGINT NOT NULL, load5_milli BIGINT NOT NULL, load15_milli BIGINT NOT NULL,
  agent_rss_bytes BIGINT NOT NULL, sandboxes_running BIGINT NOT NULL,
  tags TEXT NOT NULL, created_at BIGINT NOT NULL, version BIGINT NOT NULL, removed_at BIGINT);
CREATE UNIQUE INDEX host_name ON host (tenant_id, name) WHERE removed_at IS NULL;
CREATE INDEX host_list ON host (tenant_id, created_at, id);
CREATE INDEX host_cluster ON host (cluster_id);

CREATE TABLE host_certificate (
  serial TEXT PRIMARY KEY, host_id TEXT NOT NULL REFERENCES host(id), not_after BIGINT NOT NULL, revoked_at BIGINT);
CREATE INDEX host_certificate_host ON host_certificate (host_id);

CREATE TABLE blueprint (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), name TEXT NOT NULL, manifest_digest TEXT NOT NULL,
  manifest TEXT NOT NULL, image_config BYTEA NOT NULL, architecture TEXT NOT NULL, os TEXT NOT NULL,
  size_bytes BIGINT NOT NULL, archive_digest TEXT NOT NULL, source TEXT NOT NULL,
  created_by TEXT NOT NULL REFERENCES user_account(id), created_at BIGINT NOT NULL, UNIQUE (tenant_id, name));
CREATE INDEX blueprint_list ON blueprint (tenant_id, created_at, id);
CREATE INDEX blueprint_digest ON blueprint (tenant_id, manifest_digest);

CREATE TABLE sandbox (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), cluster_id TEXT NOT NULL REFERENCES cluster(id),
  host_id TEXT NOT NULL REFERENCES host(id), name TEXT NOT NULL, blueprint_id TEXT NOT NULL REFERENCES blueprint(id),
  blueprint_name TEXT NOT NULL, manifest_digest TEXT NOT NULL, runtime TEXT NOT NULL, command TEXT NOT NULL,
  env TEXT NOT NULL, working_dir TEXT NOT NULL, run_as TEXT NOT NULL, cpu_millis BIGINT NOT NULL,
  memory_bytes BIGINT NOT NULL, pids BIGINT NOT NULL, desired TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  message TEXT NOT NULL, exit_code BIGINT, exit_signal BIGINT, exit_oom_killed SMALLINT, exit_at BIGINT,
  generation BIGINT NOT NULL, observed_generation BIGINT NOT NULL, sequence BIGINT NOT NULL,
  stop_grace_ms BIGINT NOT NULL, started_at BIGINT, created_by TEXT NOT NULL REFERENCES user_account(id),
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, version BIGINT NOT NULL, UNIQUE (tenant_id, name));
CREATE INDEX sandbox_list ON sandbox (tenant_id, created_at, id);
CREATE INDEX sandbox_host ON sandbox (host_id);
CREATE INDEX sandbox_blueprint ON sandbox (blueprint_id);

CREATE TABLE audit (
  id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, at BIGINT NOT NULL);
CREATE INDEX audit_list ON audit (tenant_id, at, id);

-- One row that health checks write, to learn whether writing works.
CREATE TABLE health (id SMALLINT PRIMARY KEY, checked_at BIGINT NOT NULL);
)sql";

// Cordon, and what creations say of a host. `judged`: whether the first outcome of a sandbox was counted; what was there
// before this step counts for nothing.
constexpr std::string_view kPlacement = R"sql(
ALTER TABLE host ADD COLUMN cordoned SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN failed_creations BIGINT NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN resting_since BIGINT;
ALTER TABLE host ADD COLUMN rests_until BIGINT;
ALTER TABLE sandbox ADD COLUMN judged SMALLINT NOT NULL DEFAULT 1;
)sql";

// Creations by the client's own key, so that a repeat finds what the first one made.
constexpr std::string_view kRepeats = R"sql(
CREATE TABLE repeat_key (
  tenant_id TEXT NOT NULL REFERENCES tenant(id), name TEXT NOT NULL, request TEXT NOT NULL, sandbox_id TEXT NOT NULL,
  created_at BIGINT NOT NULL, PRIMARY KEY (tenant_id, name));
CREATE INDEX repeat_key_age ON repeat_key (created_at);
)sql";

// Sandboxes without a host (waiting for one, archived), hence a new table: a column cannot be made nullable in place.
constexpr std::string_view kLifecycle = R"sql(
CREATE TABLE sandbox_next (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), cluster_id TEXT NOT NULL REFERENCES cluster(id),
  host_id TEXT REFERENCES host(id), name TEXT NOT NULL, blueprint_id TEXT NOT NULL REFERENCES blueprint(id),
  blueprint_name TEXT NOT NULL, manifest_digest TEXT NOT NULL, runtime TEXT NOT NULL, command TEXT NOT NULL,
  env TEXT NOT NULL, working_dir TEXT NOT NULL, run_as TEXT NOT NULL, cpu_millis BIGINT NOT NULL,
  memory_bytes BIGINT NOT NULL, pids BIGINT NOT NULL, desired TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  message TEXT NOT NULL, exit_code BIGINT, exit_signal BIGINT, exit_oom_killed SMALLINT, exit_at BIGINT,
  exit_cause TEXT NOT NULL, exit_by TEXT NOT NULL, generation BIGINT NOT NULL, observed_generation BIGINT NOT NULL,
  sequence BIGINT NOT NULL, stop_grace_ms BIGINT NOT NULL, root_generation BIGINT NOT NULL, restart_mode TEXT NOT NULL,
  restart_max BIGINT NOT NULL, restarts BIGINT NOT NULL, stop_after_disconnect_s BIGINT NOT NULL,
  wanted_host_id TEXT REFERENCES host(id), wanted_tags TEXT NOT NULL, wanted_traits TEXT NOT NULL, expires_at BIGINT,
  idle_stop_s BIGINT NOT NULL, active_at BIGINT, desired_by TEXT NOT NULL, started_at BIGINT,
  created_by TEXT NOT NULL REFERENCES user_account(id), created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL, judged SMALLINT NOT NULL, UNIQUE (tenant_id, name));
INSERT INTO sandbox_next SELECT
  id, tenant_id, cluster_id, host_id, name, blueprint_id, blueprint_name, manifest_digest, runtime, command, env,
  working_dir, run_as, cpu_millis, memory_bytes, pids, desired, state, reason, message, exit_code, exit_signal,
  exit_oom_killed, exit_at, '', '', generation, observed_generation, sequence, stop_grace_ms, 0, 'never', 0, 0, 0, NULL,
  '[]', '[]', NULL, 0, NULL, '', started_at, created_by, created_at, updated_at, version, judged FROM sandbox;
DROP TABLE sandbox;
ALTER TABLE sandbox_next RENAME TO sandbox;
CREATE INDEX sandbox_list ON sandbox (tenant_id, created_at, id);
CREATE INDEX sandbox_host ON sandbox (host_id);
CREATE INDEX sandbox_blueprint ON sandbox (blueprint_id);
CREATE INDEX sandbox_expiry ON sandbox (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sandbox_idle ON sandbox (active_at) WHERE idle_stop_s > 0;
CREATE INDEX sandbox_homeless ON sandbox (created_at) WHERE host_id IS NULL;
)sql";

// What happened to sandboxes. AUTOINCREMENT, because a client resumes by sequence: one that was pruned is never given out
// again. `event_horizon` keeps what was pruned, so that a reader of that part learns that there was something.
constexpr std::string_view kEvents = R"sql(
CREATE TABLE sandbox_event (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, sandbox_id TEXT NOT NULL, name TEXT NOT NULL,
  host_id TEXT, at BIGINT NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL, desired TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, message TEXT NOT NULL, generation BIGINT NOT NULL, observed_generation BIGINT NOT NULL,
  restarts BIGINT NOT NULL, exit_cause TEXT NOT NULL, exit_by TEXT NOT NULL, exit_code BIGINT, exit_signal BIGINT,
  exit_oom_killed SMALLINT, exit_at BIGINT);
CREATE INDEX sandbox_event_list ON sandbox_event (tenant_id, id);
CREATE INDEX sandbox_event_sandbox ON sandbox_event (sandbox_id, id);
CREATE TABLE event_horizon (tenant_id TEXT PRIMARY KEY, pruned_through BIGINT NOT NULL);
)sql";

// When it got its host, which may be long after its creation.
constexpr std::string_view kWaiting = R"sql(
ALTER TABLE sandbox ADD COLUMN placed_at BIGINT;
UPDATE sandbox SET placed_at = created_at WHERE host_id IS NOT NULL;
)sql";

// What is kept of sandboxes away from hosts, and what hosts still have to remove of sandboxes that are not theirs any more:
// such a host is told to delete until it says that it did. `assignment` is the message (protobuf Assignment).
constexpr std::string_view kArchives = R"sql(
CREATE TABLE sandbox_archive (
  sandbox_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenant(id), manifest_digest TEXT NOT NULL,
  manifest TEXT NOT NULL, image_config BYTEA NOT NULL, size_bytes BIGINT NOT NULL, layer_bytes BIGINT NOT NULL,
  archived_at BIGINT NOT NULL);
CREATE TABLE host_release (
  host_id TEXT NOT NULL REFERENCES host(id), sandbox_id TEXT NOT NULL, generation BIGINT NOT NULL,
  assignment BYTEA NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (host_id, sandbox_id));
)sql";

// Two agents with one identity: since when, and when it showed last.
constexpr std::string_view kFences = R"sql(
ALTER TABLE host ADD COLUMN duplicate_since BIGINT;
ALTER TABLE host ADD COLUMN duplicate_seen_at BIGINT;
CREATE INDEX host_duplicate ON host (duplicate_seen_at) WHERE duplicate_since IS NOT NULL;
)sql";

}  // namespace

const std::vector<Migration>& serverMigrations() {
  static const std::vector<Migration> kSteps{{"0001_first", kFirst}, {"0002_placement", kPlacement}, {"0003_repeats", kRepeats},
                                             {"0004_lifecycle", kLifecycle}, {"0005_events", kEvents}, {"0005_waiting", kWaiting},
                                             {"0007_archives", kArchives},
                                             {"0008_fences", kFences}};
  return kSteps;
}

}  // namespace gs

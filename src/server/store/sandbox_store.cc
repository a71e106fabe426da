#include "server/store/event_rows.h"
#include "server/store/archive_rows.h"
#include "server/store/host_rows.h"
#include "server/store/repeat_rows.h"
#include "server/store/sandbox_rows.h"
#include "server/store/sql_store.h"
#include "server/store/waiting_rows.h"

namespace gs {
namespace {

using namespace sql;

// Placement looked at the host and the blueprint a moment ago, in another transaction.
Status checkStillThere(Database& db, const SandboxRecord& s) {
  const bool homeless = s.hostId.empty();
  GS_TRY(const auto removed,
         db.queryOne("SELECT removed_at FROM host WHERE id = $1 AND tenant_id = $2", {bind(s.hostId), bind(s.tenantId)},
                     [](const Row& row) { return !row.isNull(0); }));
  if (!homeless && removed.value_or(true)) {
    return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("host {} was removed meanwhile", s.hostId))
                    .withReason("host_removed"));
  }
  GS_TRY(const auto blueprint,
         db.queryOne("SELECT 1 FROM blueprint WHERE id = $1 AND tenant_id = $2", {bind(s.blueprintId), bind(s.tenantId)},
                     [](const Row& row) { return row.integer(0); }));
  if (!blueprint) return fail(noSuch("blueprint", s.blueprintId.text()));
  return {};
}

Status insertRow(Database& db, const SandboxRecord& s) {
  return orNameTaken(
      db.execute(
          "INSERT INTO sandbox (id, tenant_id, cluster_id, host_id, name, blueprint_id, blueprint_name, "
          "manifest_digest, runtime, command, env, working_dir, run_as, cpu_millis, memory_bytes, pids, desired, state, "
          "reason, message, generation, observed_generation, sequence, stop_grace_ms, created_by, created_at, "
          "updated_at, version, judged, exit_cause, exit_by, root_generation, restart_mode, restart_max, restarts, "
          "stop_after_disconnect_s, wanted_host_id, wanted_tags, wanted_traits, expires_at, idle_stop_s, active_at, "
          "desired_by, placed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, "
          "$18, $19, $20, $21, 0, 0, $22, $23, $24, $25, 1, 0, '', '', 0, $26, $27, 0, $28, $29, $30, $31, $32, $33, "
          "$24, $34, $35)",
          {bind(s.id), bind(s.tenantId), bind(s.clusterId), s.hostId.empty() ? SqlValue() : bind(s.hostId), s.name, bind(s.blueprintId),
           s.spec.blueprintName, s.spec.manifest.text(), s.spec.runtime, packStrings(s.spec.command),
           packPairs(s.spec.env), s.spec.workingDir, s.spec.user, std::int64_t{s.spec.resources.cpuMillis},
           bind(s.spec.resources.memoryBytes), std::int64_t{s.spec.resources.pids},
           std::string(desiredStateName(s.desired)), std::string(sandboxStateName(s.state)), s.reason, s.message,
           s.generation, static_cast<std::int64_t>(s.stopGrace.count()), bind(s.createdBy), bind(s.createdAt),
           bind(s.updatedAt), std::string(restartModeName(s.spec.restart.mode)), std::int64_t{s.spec.restart.maxRestarts},
           static_cast<std::int64_t>(s.spec.stopAfterDisconnect.count()),
           s.demands.host ? bind(*s.demands.host) : SqlValue(),
           packPairs({s.demands.tags.begin(), s.demands.tags.end()}), packStrings(s.demands.traits), bind(s.expiresAt),
           static_cast<std::int64_t>(s.idleStop.count()), s.desiredBy, s.hostId.empty() ? SqlValue() : bind(s.createdAt)}),
      "sandbox", s.name);
}

Error refused(std::string_view reason, std::string message) {
  return makeError(ErrorCode::kFailedPrecondition, std::move(message)).withReason(std::string(reason));
}

Status recordSandbox(Database& db, const Actor& actor, SandboxRecord s) {
  GS_CHECK(checkStillThere(db, s));
  s.desiredBy = auditActor(actor);
  GS_CHECK(insertRow(db, s));
  GS_TRY(const SandboxRow row, readSandbox(db, s.tenantId, s.id));
  GS_CHECK(recordEvent(db, row, SandboxEventKind::kCreated, s.desiredBy, s.createdAt));
  return audit(db, actor, {"sandbox.create", s.id.text(), s.hostId.empty() ? fmt::format("{}, waits for a host", s.name) : fmt::format("{} on {}", s.name, s.hostId)}, s.createdAt);
}

// The host that it lived on was removed: nobody will ever report on it again.
Result<SandboxRecord> wishWithoutHost(Database& db, const Actor& actor, SandboxRecord s, DesiredState desired,
                                      WallTime now) {
  if (desired != DesiredState::kDeleted) {
    return fail(refused("host_removed", fmt::format("the host of sandbox {} was removed", s.name))
                    .withFix("delete the sandbox and create another"));
  }
  GS_CHECK(eraseSandbox(db, s.id));
  GS_CHECK(audit(db, actor, {"sandbox.delete", s.id.text(), s.name + ", its host was removed"}, now));
  s.desired = DesiredState::kDeleted;
  s.state = SandboxState::kDeleted;
  s.reason.clear();
  s.message.clear();
  GS_CHECK(recordEvent(db, s, SandboxEventKind::kDeleted, auditActor(actor), now));
  return s;
}

}  // namespace

Task<Result<SandboxRecord>> SqlStore::placeSandbox(Actor actor, SandboxRecord draft, Placing placing) {
  return thread_.transact([actor = std::move(actor), s = std::move(draft),
                           placing = std::move(placing), now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    if (placing.repeat) {
      GS_TRY(auto before, readRepeated(db, actor.tenantId, *placing.repeat, now));
      if (before) return std::move(*before);
    }
    GS_TRY(const auto hosts, readHostLoads(db, actor.tenantId, placing.hosts));
    const auto chosen = placing.choose(hosts);
    SandboxRecord placed = s;
    if (chosen) {
      placed.hostId = hosts.at(*chosen).host.id;
      placed.clusterId = hosts.at(*chosen).host.clusterId;
    } else if (placing.noHost == Placing::NoHost::kWait && chosen.error().reason == "no_host_fits") {
      GS_TRY(placed, asWaiting(db, s, chosen.error(), placing.hosts.cluster));
    } else {
      return fail(chosen.error());
    }
    GS_CHECK(recordSandbox(db, actor, placed));
    if (placing.repeat) GS_CHECK(writeRepeat(db, placed, *placing.repeat, now));
    return placed;
  });
}

Task<Result<std::optional<SandboxRecord>>> SqlStore::findRepeated(TenantId tenant, RepeatKey key) {
  return thread_.run([tenant = std::move(tenant), key = std::move(key), now = clock_.wallNow()](Database& db) {
    return readRepeated(db, tenant, key, now);
  });
}

Task<Status> SqlStore::insertSandbox(Actor actor, SandboxRecord sandbox) {
  return thread_.transact([actor = std::move(actor), s = std::move(sandbox)](Database& db) {
    return recordSandbox(db, actor, s);
  });
}

Task<Result<SandboxRecord>> SqlStore::getSandbox(TenantId tenant, SandboxId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) -> Result<SandboxRecord> {
    GS_TRY(const SandboxRow row, readSandbox(db, tenant, id));
    return row.shown();
  });
}

Task<Result<SandboxRecord>> SqlStore::findSandbox(TenantId tenant, std::string idOrName) {
  return thread_.run([tenant = std::move(tenant), key = std::move(idOrName)](Database& db) -> Result<SandboxRecord> {
    const std::string_view column = isIdText("sbx", key) ? "s.id" : "s.name";
    GS_TRY(auto found, db.queryOne(fmt::format("{}s.tenant_id = $1 AND {} = $2", kSandboxSelect, column),
                                   {bind(tenant), key}, shownSandboxFrom));
    if (!found) return fail(noSuch("sandbox", key));
    return std::move(*found);
  });
}

Task<Result<Page<SandboxRecord>>> SqlStore::listSandboxes(TenantId tenant, SandboxFilter filter, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), filter = std::move(filter), page = std::move(page)](Database& db) {
    PageQuery query{"sandbox/" + tenant.text(), std::string(kSandboxSelect) + "s.tenant_id = $1", {bind(tenant)},
                    "s.created_at", "s.id"};
    const auto restrictTo = [&query](std::string_view column, std::string value) {
      query.scope += fmt::format("/{}={}", column, value);
      query.values.emplace_back(std::move(value));
      query.select += fmt::format(" AND {} = ${}", column, query.values.size());
    };
    if (filter.host) restrictTo("s.host_id", filter.host->text());
    if (filter.state) restrictTo(kShownState, std::string(sandboxStateName(*filter.state)));
    return readPage(db, std::move(query), page, shownSandboxFrom);
  });
}

Result<SandboxRecord> sql::applyWish(Database& db, const Actor& actor, SandboxRow row, DesiredState desired, Millis stopGrace,
                                     WallTime now) {
  if (isAway(row.observed)) return wishAway(db, actor, std::move(row), desired, now);
  if (row.host.state == HostState::kRevoked) return wishWithoutHost(db, actor, std::move(row.observed), desired, now);
  const bool rejected = deletionWasRejected(row.observed);
  if (row.observed.desired == DesiredState::kDeleted && desired != DesiredState::kDeleted && !rejected) {
    return fail(refused("sandbox_deleting", fmt::format("sandbox {} is being deleted", row.observed.name)));
  }
  if (isWaiting(row.observed)) return wishWhileWaiting(db, actor, std::move(row), desired, now);
  const bool again = (desired == DesiredState::kRunning && endedByItself(row.observed)) || (desired == DesiredState::kDeleted && rejected);
  if (row.observed.desired == desired && !again) return row.shown();
  GS_CHECK(wish(db, actor, row, desired, stopGrace, now));
  return row.shown();
}

Task<Result<SandboxRecord>> SqlStore::setDesired(Actor actor, SandboxId id, DesiredState desired, Millis stopGrace) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), desired, stopGrace,
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandbox(db, actor.tenantId, id));
    return applyWish(db, actor, std::move(row), desired, stopGrace, now);
  });
}

Task<Result<std::vector<SandboxRecord>>> SqlStore::sandboxesOnHost(HostId id) {
  return thread_.run([id = std::move(id)](Database& db) -> Result<std::vector<SandboxRecord>> {
    std::vector<SandboxRecord> out;
    GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 ORDER BY s.id", {bind(id)},
                      [&](const Row& row) { out.push_back(sandboxRowFrom(row).observed); }));
    GS_CHECK(addReleases(db, id, out));
    return out;
  });
}

Task<Status> SqlStore::adoptSandbox(Actor actor, SandboxRecord record) {
  return thread_.transact([actor = std::move(actor), s = std::move(record)](Database& db) -> Status {
    const auto known = db.queryOne("SELECT 1 FROM sandbox WHERE id = $1", {bind(s.id)}, [](const Row& row) { return row.integer(0); });
    if (!known) return fail(known.error());
    if (*known) {
      return fail(makeError(ErrorCode::kAlreadyExists, fmt::format("there is a record of sandbox {}, and not on this host", s.id))
                      .withReason("sandbox_known"));
    }
    GS_CHECK(checkStillThere(db, s));
    GS_CHECK(insertRow(db, s));
    GS_CHECK(updateSandbox(db, s));
    GS_TRY(const SandboxRow row, readSandbox(db, s.tenantId, s.id));
    GS_CHECK(recordEvent(db, row, SandboxEventKind::kAdopted, auditActor(actor), s.createdAt));
    return audit(db, actor, {"sandbox.adopt", s.id.text(), fmt::format("{} on {}", s.name, s.hostId)}, s.createdAt);
  });
}

}  // namespace gs

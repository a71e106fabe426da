#include "server/core/death_certificate.h"
#include "server/core/fault.h"
#include "server/store/event_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sandbox_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

// What stands in the way of removing a host, as far as an answer has room for it.
Result<std::vector<std::string>> sandboxFaults(Database& db, const HostId& id) {
  std::vector<std::string> out;
  GS_CHECK(db.query("SELECT id, name FROM sandbox WHERE host_id = $1 ORDER BY name LIMIT $2",
                    {bind(id), static_cast<std::int64_t>(kMaxFaults)}, [&](const Row& row) {
                      out.push_back(faultLine("/sandboxes/" + row.text(0), "sandbox " + row.text(1) + " lives on it"));
                    }));
  return out;
}

// What was being deleted is gone with the host; the rest is lost.
Status loseSandboxes(Database& db, const Actor& actor, const HostRecord& host, WallTime now) {
  std::vector<SandboxRow> rows;
  GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 ORDER BY s.id", {bind(host.id)},
                    [&](const Row& row) { rows.push_back(sandboxRowFrom(row)); }));
  for (auto& row : rows) {
    SandboxRecord& s = row.observed;
    if (s.desired == DesiredState::kDeleted) {
      GS_CHECK(eraseSandbox(db, s.id));
      s.state = SandboxState::kDeleted;
      s.reason.clear();
      s.message.clear();
      GS_CHECK(recordEvent(db, s, SandboxEventKind::kDeleted, auditActor(actor), now));
      GS_CHECK(audit(db, actor, {"sandbox.deleted", s.id.text(), fmt::format("{} with host {}", s.name, host.name)}, now));
      continue;
    }
    s.state = SandboxState::kFailed;
    s.reason = "host_removed";
    s.message = fmt::format("host {} was removed", host.name);
    if (!s.exit) {
      s.exit = lostWithHost(now);
      s.exitBy = auditActor(actor);
    }
    s.updatedAt = now;
    s.version += 1;
    GS_CHECK(updateSandbox(db, s));
    GS_CHECK(recordEvent(db, s, SandboxEventKind::kHostRemoved, auditActor(actor), now));
    GS_CHECK(audit(db, actor, {"sandbox.failed", s.id.text(), fmt::format("{}, host_removed", s.name)}, now));
  }
  return {};
}

}  // namespace

Task<Result<HostRecord>> SqlStore::getHost(TenantId tenant, HostId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) { return readHost(db, tenant, id); });
}

Task<Result<Page<HostRecord>>> SqlStore::listHosts(TenantId tenant, std::optional<ClusterId> cluster,
                                                   PageRequest page) {
  return thread_.run([tenant = std::move(tenant), cluster = std::move(cluster), page = std::move(page)](Database& db) {
    PageQuery query{"host/" + tenant.text(), kHostSelect + "h.tenant_id = $1 AND h.removed_at IS NULL",
                    {bind(tenant)}, "h.created_at", "h.id"};
    if (cluster) {
      query.scope += "/" + cluster->text();
      query.select += " AND h.cluster_id = $2";
      query.values.push_back(bind(*cluster));
    }
    return readPage(db, std::move(query), page, hostFrom);
  });
}

Task<Result<std::vector<HostLoad>>> SqlStore::hostLoads(TenantId tenant, HostQuery query) {
  return thread_.run([tenant = std::move(tenant), query = std::move(query)](Database& db) {
    return readHostLoads(db, tenant, query);
  });
}

Task<Result<HostRecord>> SqlStore::updateHost(Actor actor, HostId id, HostUpdate update, std::int64_t expectedVersion) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), update = std::move(update), expectedVersion,
                           now = clock_.wallNow()](Database& db) -> Result<HostRecord> {
    GS_TRY(const HostRecord before, readHost(db, actor.tenantId, id));
    if (before.version != expectedVersion) return fail(staleVersion("host", before.version));
    const std::string name = update.name.value_or(before.name);
    const auto& tags = update.tags ? *update.tags : before.tags;
    const bool cordoned = update.cordoned.value_or(before.cordoned);
    const HostTrial trial = update.cordoned && !*update.cordoned ? HostTrial{} : before.trial;
    if (name == before.name && tags == before.tags && cordoned == before.cordoned && trial == before.trial) return before;
    GS_CHECK(orNameTaken(db.execute("UPDATE host SET name = $1, tags = $2, cordoned = $3, version = version + 1 "
                                    "WHERE id = $4",
                                    {name, packTags(tags), std::int64_t{cordoned ? 1 : 0}, bind(id)}),
                         "host", name));
    GS_CHECK(writeTrial(db, id, trial));
    std::vector<std::string> changes;
    if (name != before.name) changes.push_back(fmt::format("{} to {}", before.name, name));
    if (tags != before.tags) changes.emplace_back("tags");
    if (cordoned != before.cordoned) changes.emplace_back(cordoned ? "cordoned" : "uncordoned");
    if (trial != before.trial) changes.emplace_back("failures forgiven");
    GS_CHECK(audit(db, actor, {"host.update", id.text(), fmt::format("{}", fmt::join(changes, ", "))}, now));
    return readHost(db, actor.tenantId, id);
  });
}

Task<Result<std::vector<SandboxRecord>>> SqlStore::drainHost(Actor actor, HostId id, Millis stopGrace) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), stopGrace,
                           now = clock_.wallNow()](Database& db) -> Result<std::vector<SandboxRecord>> {
    GS_TRY(const HostRecord host, readHost(db, actor.tenantId, id));
    if (!host.cordoned) {
      GS_CHECK(db.execute("UPDATE host SET cordoned = 1, version = version + 1 WHERE id = $1", {bind(id)}));
    }
    std::vector<SandboxRow> rows;
    GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 AND s.desired = 'running' ORDER BY s.id", {bind(id)},
                      [&](const Row& row) { rows.push_back(sandboxRowFrom(row)); }));
    std::vector<SandboxRecord> out;
    for (auto& row : rows) {
      GS_CHECK(wish(db, actor, row, DesiredState::kStopped, stopGrace, now));
      out.push_back(row.shown());
    }
    GS_CHECK(audit(db, actor, {"host.drain", id.text(), fmt::format("{}, {} sandboxes stop", host.name, out.size())}, now));
    return out;
  });
}

Task<Status> SqlStore::removeHost(Actor actor, HostId id, RemoveHost mode) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), mode,
                           now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const HostRecord host, readHost(db, actor.tenantId, id));
    if (host.sandboxCount > 0 && mode == RemoveHost::kOnlyWhenEmpty) {
      Error error = makeError(ErrorCode::kFailedPrecondition,
                              fmt::format("{} sandboxes live on host {}", host.sandboxCount, host.name));
      error.reason = "host_not_empty";
      error.fix = "delete them first, or remove the host with force: then they are lost";
      GS_TRY(error.details, sandboxFaults(db, id));
      return fail(std::move(error));
    }
    GS_CHECK(loseSandboxes(db, actor, host, now));
    // Nobody will ever say that these are gone.
    GS_CHECK(db.execute("DELETE FROM host_release WHERE host_id = $1", {bind(id)}));
    GS_CHECK(db.execute("UPDATE host_certificate SET revoked_at = $1 WHERE host_id = $2 AND revoked_at IS NULL",
                        {bind(now), bind(id)}));
    GS_CHECK(db.execute("UPDATE host SET state = 'revoked', removed_at = $1, version = version + 1 WHERE id = $2",
                        {bind(now), bind(id)}));
    return audit(db, actor,
                 {"host.remove", id.text(), fmt::format("{} with {} sandboxes", host.name, host.sandboxCount)}, now);
  });
}

}  // namespace gs

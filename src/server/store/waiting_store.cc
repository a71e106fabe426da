#include "server/store/event_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sql_store.h"
#include "server/store/waiting_rows.h"

namespace gs {
namespace sql {

bool isWaiting(const SandboxRecord& record) {
  return record.hostId.empty() && record.desired != DesiredState::kArchived &&
         (record.state == SandboxState::kRequested || record.state == SandboxState::kStopped);
}

Result<SandboxRecord> asWaiting(Database& db, SandboxRecord draft, const Error& why, const ClusterId& cluster) {
  GS_TRY(const auto count, db.queryOne("SELECT COUNT(*) FROM sandbox WHERE tenant_id = $1 AND host_id IS NULL AND state = 'requested'",
                                       {bind(draft.tenantId)}, [](const Row& row) { return row.integer(0); }));
  if (count.value_or(0) >= Store::kMaxWaiting) {
    return fail(makeError(ErrorCode::kResourceExhausted,
                          fmt::format("{} sandboxes of this tenant wait for a host already, which is the most", *count))
                    .withReason("too_many_waiting")
                    .withFix("delete some, or enroll a host"));
  }
  GS_TRY(const auto there, db.queryOne("SELECT 1 FROM cluster WHERE id = $1 AND deleted_at IS NULL", {bind(cluster)},
                                       [](const Row& row) { return row.integer(0); }));
  if (!there) return fail(noSuch("cluster", cluster.text()));
  draft.clusterId = cluster;
  draft.state = SandboxState::kRequested;
  draft.reason = "no_host_fits";
  draft.message = why.message;
  return draft;
}

Result<SandboxRecord> wishWhileWaiting(Database& db, const Actor& actor, SandboxRow row, DesiredState desired, WallTime now) {
  SandboxRecord& s = row.observed;
  if (desired == DesiredState::kDeleted) {
    GS_CHECK(eraseSandbox(db, s.id));
    s.desired = DesiredState::kDeleted;
    s.state = SandboxState::kDeleted;
    s.reason.clear();
    s.message.clear();
    GS_CHECK(recordEvent(db, s, SandboxEventKind::kDeleted, auditActor(actor), now));
    GS_CHECK(audit(db, actor, {"sandbox.delete", s.id.text(), s.name + ", which waited for a host"}, now));
    return s;
  }
  if (s.desired == desired) return row.shown();
  if (desired == DesiredState::kArchived) {
    return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("sandbox {} has not been on a host yet", s.name))
                    .withReason("sandbox_waiting"));
  }
  const bool waits = desired == DesiredState::kRunning;
  s.desired = desired;
  s.desiredBy = auditActor(actor);
  s.generation += 1;
  // What is wished is so at once: there is nobody to carry it out.
  if (!waits) s.observedGeneration = s.generation;
  s.updatedAt = now;
  s.version += 1;
  s.state = waits ? SandboxState::kRequested : SandboxState::kStopped;
  s.reason = waits ? "no_host_fits" : "stopped_by_user";
  s.message = waits ? "it waits for a host" : "";
  GS_CHECK(updateSandbox(db, s));
  GS_CHECK(recordEvent(db, row, wishEventKind(desired), s.desiredBy, now));
  GS_CHECK(audit(db, actor, {waits ? "sandbox.start" : "sandbox.stop", s.id.text(), s.name + ", which waits for a host"}, now));
  return row.shown();
}

}  // namespace sql

namespace {

using namespace sql;

Status takeHost(Database& db, SandboxRecord& s, const HostRecord& host, WallTime now) {
  s.hostId = host.id;
  s.clusterId = host.clusterId;
  s.state = SandboxState::kPlacing;
  s.reason = "pending_placement";
  s.message.clear();
  s.updatedAt = now;
  s.version += 1;
  GS_CHECK(updateSandbox(db, s));
  GS_CHECK(db.execute("UPDATE sandbox SET placed_at = $1 WHERE id = $2", {bind(now), bind(s.id)}));
  return {};
}

}  // namespace

Task<Result<std::vector<SandboxRecord>>> SqlStore::listWaiting() {
  return thread_.run([](Database& db) -> Result<std::vector<SandboxRecord>> {
    std::vector<SandboxRecord> out;
    GS_CHECK(db.query(std::string(kSandboxSelect) +
                          "s.host_id IS NULL AND s.state = 'requested' AND s.desired = 'running' ORDER BY s.created_at, s.id",
                      {}, [&](const Row& row) { out.push_back(shownSandboxFrom(row)); }));
    return out;
  });
}

Task<Result<SandboxRecord>> SqlStore::placeWaiting(TenantId tenant, SandboxId id, Placing placing) {
  return thread_.transact([tenant = std::move(tenant), id = std::move(id), placing = std::move(placing),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandbox(db, tenant, id));
    if (!isWaiting(row.observed) || row.observed.desired != DesiredState::kRunning) return row.shown();
    GS_TRY(const auto hosts, readHostLoads(db, tenant, placing.hosts));
    GS_TRY(const std::size_t chosen, placing.choose(hosts));
    const HostRecord& host = hosts.at(chosen).host;
    GS_CHECK(takeHost(db, row.observed, host, now));
    GS_TRY(row, readSandbox(db, tenant, id));
    GS_CHECK(recordEvent(db, row, SandboxEventKind::kPlaced, kSystemActor, now));
    GS_CHECK(audit(db, tenant, std::string(kSystemActor),
                   {"sandbox.place", id.text(), fmt::format("{} on {}, which it waited for", row.observed.name, host.id)}, now));
    return row.shown();
  });
}

}  // namespace gs

#include "server/core/claim.h"
#include "server/store/event_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sandbox_rows.h"
#include "server/store/sql_store.h"
#include "server/store/waiting_rows.h"

namespace gs {
namespace {

using namespace sql;

// It has a fresh root from a blueprint that the backup is too old to know of. When that was not imported again, the record
// goes on naming the old one, which costs nothing before the next fresh root.
Status takeBlueprint(Database& db, SandboxRecord& s, const Digest& manifest) {
  GS_CHECK(db.query("SELECT id, name FROM blueprint WHERE tenant_id = $1 AND manifest_digest = $2 ORDER BY created_at DESC, id LIMIT 1",
                    {bind(s.tenantId), manifest.text()}, [&](const Row& row) {
                      s.blueprintId = BlueprintId::trusted(row.text(0));
                      s.spec.blueprintName = row.text(1);
                      s.spec.manifest = manifest;
                    }));
  return {};
}

Result<HostOrigin> originOf(Database& db, const SandboxRecord& s) {
  if (s.archive || s.desired == DesiredState::kArchived) return HostOrigin::kOther;
  if (s.hostId.empty()) return isWaiting(s) ? HostOrigin::kNone : HostOrigin::kOther;
  GS_TRY(const auto placedAt, db.queryOne("SELECT placed_at FROM sandbox WHERE id = $1", {bind(s.id)},
                                          [](const Row& row) { return findTimeAt(row, 0); }));
  if (!placedAt || !*placedAt) return HostOrigin::kByClaim;
  return **placedAt > s.createdAt ? HostOrigin::kAfterWaiting : HostOrigin::kOther;
}

// What was said of it before was of another host, or of none.
void forgetObservations(SandboxRecord& s) {
  s.observedGeneration = 0;
  s.sequence = 0;
  s.state = SandboxState::kPlacing;
  s.reason = "pending_placement";
  s.message.clear();
  s.exit.reset();
  s.exitBy.clear();
  s.startedAt.reset();
  s.restarts = 0;
}

Status claim(Database& db, SandboxRow& row, const HostRecord& host, const Assignment& held, WallTime now) {
  SandboxRecord& s = row.observed;
  const auto heldGeneration = static_cast<std::int64_t>(held.generation);
  // The wish of the later generation. Of two with the same number, one is lost, and the other was seen by a person.
  if (heldGeneration > s.generation) {
    s.desired = held.desired;
    s.desiredBy = host.id.text();
    s.stopGrace = held.stopGrace;
  }
  s.generation = std::max(heldGeneration, s.generation) + 1;
  // Whatever the wish: what the host has is kept.
  s.rootGeneration = static_cast<std::int64_t>(held.rootGeneration);
  if (held.spec.manifest != s.spec.manifest) GS_CHECK(takeBlueprint(db, s, held.spec.manifest));
  const HostId before = s.hostId;
  s.hostId = host.id;
  s.clusterId = host.clusterId;
  row.host = {host.state, host.name, host.lastSeenAt};
  forgetObservations(s);
  s.updatedAt = now;
  s.version += 1;
  GS_CHECK(updateSandbox(db, s));
  // Says that it was claimed (originOf): this is decided once.
  GS_CHECK(db.execute("UPDATE sandbox SET placed_at = NULL WHERE id = $1", {bind(s.id)}));
  GS_CHECK(recordEvent(db, row, SandboxEventKind::kRecovered, host.id.text(), now));
  return audit(db, s.tenantId, host.id.text(),
               {"sandbox.claim", s.id.text(),
                before.empty() ? fmt::format("{}, which waited for a host, is on {}", s.name, host.id)
                               : fmt::format("{} is on {}, and is stopped on {}", s.name, host.id, before)},
               now);
}

Lived livedThere(const HeldSandbox& held) {
  return held.observation && held.observation->startedAt ? Lived::kYes : Lived::kNo;
}

// By the record it is not on this host.
Result<Store::Recovery> recoverElsewhere(Database& db, const HostId& id, const HeldSandbox& held, WallTime now) {
  Store::Recovery out;
  GS_TRY(const auto host, findHost(db, id));
  if (!host) return out;
  auto row = readSandbox(db, host->tenantId, held.assignment.sandboxId);
  if (!row && row.error().code == ErrorCode::kNotFound) return out;
  if (!row) return fail(std::move(row).error());
  if (row->observed.desired == DesiredState::kDeleted) return out;
  GS_TRY(const auto origin, originOf(db, row->observed));
  switch (judgeClaim(origin, livedThere(held))) {
    case ClaimVerdict::kNone:
      return out;
    case ClaimVerdict::kYields:
      out.verdict = Store::Recovery::Verdict::kYields;
      return out;
    case ClaimVerdict::kTakes:
      break;
  }
  out.before = row->observed.hostId;
  GS_CHECK(claim(db, *row, *host, held.assignment, now));
  out.verdict = Store::Recovery::Verdict::kClaimed;
  out.record = std::move(row->observed);
  return out;
}

}  // namespace

Task<Result<Store::Recovery>> SqlStore::recoverWish(HostId host, HeldSandbox told) {
  return thread_.transact([host = std::move(host), told = std::move(told), now = clock_.wallNow()](Database& db) -> Result<Recovery> {
    const Assignment& held = told.assignment;
    auto row = readSandboxOn(db, host, held.sandboxId);
    if (!row && row.error().code == ErrorCode::kNotFound) return recoverElsewhere(db, host, told, now);
    if (!row) return fail(std::move(row).error());
    Recovery out;
    out.verdict = Recovery::Verdict::kNothingNew;
    SandboxRecord& s = row->observed;
    const auto generation = static_cast<std::int64_t>(held.generation);
    if (generation <= s.generation) return out;
    const std::string detail = fmt::format("{}: generation {} to {}, {} to {}", s.name, s.generation, generation,
                                           desiredStateName(s.desired), desiredStateName(held.desired));
    s.generation = generation;
    s.desired = held.desired;
    s.desiredBy = host.text();
    s.stopGrace = held.stopGrace;
    s.rootGeneration = static_cast<std::int64_t>(held.rootGeneration);
    if (held.spec.manifest != s.spec.manifest) GS_CHECK(takeBlueprint(db, s, held.spec.manifest));
    s.updatedAt = now;
    s.version += 1;
    GS_CHECK(updateSandbox(db, s));
    GS_CHECK(recordEvent(db, *row, SandboxEventKind::kRecovered, host.text(), now));
    GS_CHECK(audit(db, s.tenantId, host.text(), {"sandbox.recover", s.id.text(), detail}, now));
    out.verdict = Recovery::Verdict::kRecovered;
    return out;
  });
}

Task<Result<std::vector<HostId>>> SqlStore::hostIds(ClusterId cluster) {
  return thread_.run([cluster = std::move(cluster)](Database& db) -> Result<std::vector<HostId>> {
    std::vector<HostId> out;
    GS_CHECK(db.query("SELECT id FROM host WHERE cluster_id = $1 AND removed_at IS NULL ORDER BY id", {bind(cluster)},
                      [&](const Row& row) { out.push_back(HostId::trusted(row.text(0))); }));
    return out;
  });
}

}  // namespace gs

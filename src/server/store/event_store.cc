#include "server/store/event_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

constexpr std::string_view kEventSelect =
    "SELECT id, tenant_id, sandbox_id, name, host_id, at, kind, actor, desired, state, reason, message, generation, "
    "observed_generation, restarts, exit_cause, exit_by, exit_code, exit_signal, exit_oom_killed, exit_at "
    "FROM sandbox_event WHERE ";
// So many rows go in one transaction, which nobody waits for longer than for a few others.
constexpr std::int64_t kPruneBatch = 2'000;

SandboxEventRecord eventFrom(const Row& row) {
  SandboxEventRecord out;
  out.sequence = row.integer(0);
  out.tenantId = TenantId::trusted(row.text(1));
  out.sandboxId = SandboxId::trusted(row.text(2));
  out.name = row.text(3);
  if (!row.isNull(4)) out.hostId = HostId::trusted(row.text(4));
  out.at = timeAt(row, 5);
  out.kind = parseSandboxEventKind(row.text(6)).value_or(SandboxEventKind::kObserved);
  out.actor = row.text(7);
  out.desired = parseDesiredState(row.text(8)).value_or(DesiredState::kStopped);
  out.state = parseSandboxState(row.text(9)).value_or(SandboxState::kUnknown);
  out.reason = row.text(10);
  out.message = row.text(11);
  out.generation = row.integer(12);
  out.observedGeneration = row.integer(13);
  out.restarts = row.integer(14);
  out.exit = findExitAt(row, 17, 15);
  out.exitBy = row.text(16);
  return out;
}

Result<std::int64_t> numberFrom(Database& db, std::string_view sql, const std::vector<SqlValue>& values = {}) {
  GS_TRY(const auto found, db.queryOne(sql, values, [](const Row& row) { return row.integer(0); }));
  return found.value_or(0);
}

// The log may be empty and still have been long: what was pruned counts.
Result<std::int64_t> headOf(Database& db) {
  GS_TRY(const auto last, numberFrom(db, "SELECT COALESCE(MAX(id), 0) FROM sandbox_event"));
  GS_TRY(const auto pruned, numberFrom(db, "SELECT COALESCE(MAX(pruned_through), 0) FROM event_horizon"));
  return std::max(last, pruned);
}

// Whether the tenant has, or is known to have had, this sandbox.
Status checkKnown(Database& db, const TenantId& tenant, const SandboxId& id) {
  GS_TRY(const auto found,
         numberFrom(db,
                    "SELECT EXISTS (SELECT 1 FROM sandbox WHERE tenant_id = $1 AND id = $2) OR "
                    "EXISTS (SELECT 1 FROM sandbox_event WHERE tenant_id = $1 AND sandbox_id = $2)",
                    {bind(tenant), bind(id)}));
  return found != 0 ? Status{} : fail(noSuch("sandbox", id.text()));
}

// The greatest sequence that has to go, 0 for none.
Result<std::int64_t> pruneMark(Database& db, const TenantId& tenant, const SandboxEventLimits& limits, WallTime now) {
  GS_TRY(const auto tooMany, numberFrom(db, "SELECT id FROM sandbox_event WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2",
                                        {bind(tenant), limits.perTenant}));
  // From the oldest to the first that is young enough: no more rows are looked at than go.
  GS_TRY(const auto young, db.queryOne("SELECT id FROM sandbox_event WHERE tenant_id = $1 AND at >= $2 ORDER BY id LIMIT 1",
                                       {bind(tenant), bind(now - limits.age)}, [](const Row& row) { return row.integer(0); }));
  if (young) return std::max(tooMany, *young - 1);
  return numberFrom(db, "SELECT COALESCE(MAX(id), 0) FROM sandbox_event WHERE tenant_id = $1", {bind(tenant)});
}

Result<std::int64_t> pruneTenant(Database& db, const TenantId& tenant, const SandboxEventLimits& limits, WallTime now) {
  GS_TRY(auto mark, pruneMark(db, tenant, limits, now));
  GS_TRY(const auto batchEnd, numberFrom(db, "SELECT id FROM sandbox_event WHERE tenant_id = $1 ORDER BY id LIMIT 1 OFFSET $2",
                                         {bind(tenant), kPruneBatch - 1}));
  if (batchEnd != 0) mark = std::min(mark, batchEnd);
  GS_TRY(const auto gone, db.execute("DELETE FROM sandbox_event WHERE tenant_id = $1 AND id <= $2", {bind(tenant), mark}));
  if (gone == 0) return gone;
  GS_CHECK(db.execute("INSERT INTO event_horizon (tenant_id, pruned_through) VALUES ($1, $2) "
                      "ON CONFLICT (tenant_id) DO UPDATE SET pruned_through = $2",
                      {bind(tenant), mark}));
  return gone;
}

}  // namespace

Task<Result<SandboxEventSlice>> SqlStore::listSandboxEvents(TenantId tenant, SandboxEventQuery query) {
  return thread_.run([tenant = std::move(tenant), query = std::move(query)](Database& db) -> Result<SandboxEventSlice> {
    SandboxEventSlice out;
    std::string text = std::string(kEventSelect) + "tenant_id = $1 AND id > $2";
    std::vector<SqlValue> values{bind(tenant), query.after, query.limit};
    if (query.sandbox) {
      text += " AND sandbox_id = $4";
      values.push_back(bind(*query.sandbox));
    }
    GS_CHECK(db.query(text + " ORDER BY id LIMIT $3", values, [&](const Row& row) { out.items.push_back(eventFrom(row)); }));
    if (query.sandbox && out.items.empty()) GS_CHECK(checkKnown(db, tenant, *query.sandbox));
    GS_TRY(out.prunedThrough, numberFrom(db, "SELECT pruned_through FROM event_horizon WHERE tenant_id = $1", {bind(tenant)}));
    GS_TRY(out.head, headOf(db));
    return out;
  });
}

Task<Result<std::int64_t>> SqlStore::pruneSandboxEvents(SandboxEventLimits limits) {
  return thread_.transact([limits, now = clock_.wallNow()](Database& db) -> Result<std::int64_t> {
    std::vector<TenantId> tenants;
    GS_CHECK(db.query("SELECT id FROM tenant ORDER BY id", {},
                      [&](const Row& row) { tenants.push_back(TenantId::trusted(row.text(0))); }));
    std::int64_t gone = 0;
    for (const auto& tenant : tenants) {
      if (gone >= kPruneBatch) break;
      GS_TRY(const auto more, pruneTenant(db, tenant, limits, now));
      gone += more;
    }
    return gone;
  });
}

}  // namespace gs

#include "server/store/sandbox_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

constexpr std::string_view kMostAtOnce = " LIMIT 100";
constexpr Millis kIdleStopGrace{10'000};
constexpr std::string_view kExpires = "s.expires_at IS NOT NULL AND s.desired <> 'deleted'";
// Only what runs can be idle: what starts is not there yet, and what has ended needs no stop.
constexpr std::string_view kIdles =
    "s.idle_stop_s > 0 AND s.desired = 'running' AND s.state = 'running' AND s.observed_generation = s.generation";
constexpr std::string_view kIdleAt = "s.active_at + s.idle_stop_s * 1000";

Result<std::vector<SandboxRow>> readRows(Database& db, const std::string& where, WallTime now) {
  std::vector<SandboxRow> out;
  GS_CHECK(db.query(fmt::format("{}{}{}", kSandboxSelect, where, kMostAtOnce), {bind(now)},
                    [&](const Row& row) { out.push_back(sandboxRowFrom(row)); }));
  return out;
}

Result<std::optional<WallTime>> readTime(Database& db, const std::string& select) {
  GS_TRY(const auto found, db.queryOne(select, {}, [](const Row& row) { return findTimeAt(row, 0); }));
  return found.value_or(std::nullopt);
}

Status wishAll(Database& db, std::vector<SandboxRow> rows, std::string_view by, DesiredState desired, WallTime now,
               std::vector<SandboxRecord>& changed) {
  for (auto& row : rows) {
    Actor actor;
    actor.tenantId = row.observed.tenantId;
    actor.system = by;
    GS_TRY(auto record, applyWish(db, actor, std::move(row), desired, kIdleStopGrace, now));
    changed.push_back(std::move(record));
  }
  return {};
}

std::optional<WallTime> earlier(std::optional<WallTime> a, std::optional<WallTime> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

std::string describe(const Store::Lifetime& lifetime) {
  std::string out;
  if (lifetime.expiresAt) out += *lifetime.expiresAt ? "expires " + formatTime(**lifetime.expiresAt) : "never expires";
  if (lifetime.idleStop) {
    out += fmt::format("{}{}", out.empty() ? "" : ", ",
                       lifetime.idleStop->count() == 0 ? std::string("never stopped when idle")
                                                       : fmt::format("stopped after {} s idle", lifetime.idleStop->count()));
  }
  return out;
}

}  // namespace

Task<Result<SandboxRecord>> SqlStore::setLifetime(Actor actor, SandboxId id, Lifetime lifetime) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), lifetime,
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandbox(db, actor.tenantId, id));
    SandboxRecord& s = row.observed;
    if (s.desired == DesiredState::kDeleted) {
      return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("sandbox {} is being deleted", s.name))
                      .withReason("sandbox_deleting"));
    }
    if (lifetime.expiresAt) s.expiresAt = *lifetime.expiresAt;
    if (lifetime.idleStop) s.idleStop = *lifetime.idleStop;
    s.activeAt = now;
    s.updatedAt = now;
    s.version += 1;
    GS_CHECK(updateSandbox(db, s));
    GS_CHECK(db.execute("UPDATE sandbox SET idle_stop_s = $2 WHERE id = $1", {bind(id), std::int64_t{s.idleStop.count()}}));
    GS_CHECK(audit(db, actor, {"sandbox.set_lifetime", id.text(), fmt::format("{}: {}", s.name, describe(lifetime))}, now));
    return row.shown();
  });
}

Task<Status> SqlStore::noteActivity(SandboxId id) {
  return thread_.run([id = std::move(id), now = clock_.wallNow()](Database& db) -> Status {
    GS_CHECK(db.execute("UPDATE sandbox SET active_at = $2 WHERE id = $1 AND active_at < $2", {bind(id), bind(now)}));
    return {};
  });
}

Task<Result<Store::DeadlineSweep>> SqlStore::actOnDeadlines(std::vector<SandboxId> inUse) {
  return thread_.transact([inUse = std::move(inUse), now = clock_.wallNow()](Database& db) -> Result<DeadlineSweep> {
    DeadlineSweep out;
    for (const auto& id : inUse) {
      GS_CHECK(db.execute("UPDATE sandbox SET active_at = $2 WHERE id = $1 AND idle_stop_s > 0", {bind(id), bind(now)}));
    }
    GS_TRY(auto expired, readRows(db, fmt::format("{} AND s.expires_at <= $1 ORDER BY s.expires_at", kExpires), now));
    GS_CHECK(wishAll(db, std::move(expired), kTtlActor, DesiredState::kDeleted, now, out.changed));
    GS_TRY(auto idle, readRows(db, fmt::format("{} AND {} <= $1 ORDER BY s.active_at", kIdles, kIdleAt), now));
    GS_CHECK(wishAll(db, std::move(idle), kIdleActor, DesiredState::kStopped, now, out.changed));
    GS_TRY(const auto expiry, readTime(db, fmt::format("SELECT min(s.expires_at) FROM sandbox s WHERE {}", kExpires)));
    GS_TRY(const auto idling, readTime(db, fmt::format("SELECT min({}) FROM sandbox s WHERE {}", kIdleAt, kIdles)));
    out.next = earlier(expiry, idling);
    return out;
  });
}

}  // namespace gs

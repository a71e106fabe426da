#include "server/store/repeat_rows.h"

namespace gs::sql {

Result<std::optional<SandboxRecord>> readRepeated(Database& db, const TenantId& tenant, const RepeatKey& key, WallTime now) {
  GS_TRY(const auto found,
         db.queryOne("SELECT request, sandbox_id FROM repeat_key WHERE tenant_id = $1 AND name = $2 AND created_at > $3",
                     {bind(tenant), key.name, bind(now - kRepeatKeyLifetime)},
                     [](const Row& row) { return std::pair(row.text(0), SandboxId::trusted(row.text(1))); }));
  if (!found) return std::optional<SandboxRecord>();
  const auto& [request, id] = *found;
  if (request != key.request.text()) {
    return fail(makeError(ErrorCode::kFailedPrecondition, "the Idempotency-Key was used for another request")
                    .withReason("repeat_key_reused")
                    .withFix("a new key for each new sandbox"));
  }
  auto row = readSandbox(db, tenant, id);
  if (row) return std::optional(row->shown());
  if (row.error().code != ErrorCode::kNotFound) return fail(row.error());
  return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("sandbox {}, which this Idempotency-Key was used for, is gone", id))
                  .withReason("repeat_key_spent")
                  .withFix("a new key for each new sandbox"));
}

Status writeRepeat(Database& db, const SandboxRecord& sandbox, const RepeatKey& key, WallTime now) {
  GS_CHECK(db.execute("DELETE FROM repeat_key WHERE created_at <= $1", {bind(now - kRepeatKeyLifetime)}));
  GS_CHECK(db.execute("INSERT INTO repeat_key (tenant_id, name, request, sandbox_id, created_at) VALUES ($1, $2, $3, $4, $5)",
                      {bind(sandbox.tenantId), key.name, key.request.text(), bind(sandbox.id), bind(now)}));
  return {};
}

}  // namespace gs::sql

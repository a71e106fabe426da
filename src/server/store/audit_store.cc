#include "server/store/sql_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

AuditRecord auditFrom(const Row& row) {
  AuditRecord out;
  out.id = row.integer(0);
  out.tenantId = TenantId::trusted(row.text(1));
  out.actor = row.text(2);
  out.action = row.text(3);
  out.subject = row.text(4);
  out.detail = row.text(5);
  out.at = timeAt(row, 6);
  return out;
}

}  // namespace

Task<Result<std::string>> SqlStore::image() {
  return thread_.run([](Database& db) { return db.image(); });
}

Task<Status> SqlStore::checkHealth() {
  return thread_.transact([now = clock_.wallNow()](Database& db) -> Status {
    GS_CHECK(db.execute("INSERT INTO health (id, checked_at) VALUES (1, $1) "
                        "ON CONFLICT (id) DO UPDATE SET checked_at = $1",
                        {bind(now)}));
    return {};
  });
}

Task<Status> SqlStore::appendAudit(AuditRecord record) {
  return thread_.transact([r = std::move(record)](Database& db) -> Status {
    return audit(db, r.tenantId, r.actor, {r.action, r.subject, r.detail}, r.at);
  });
}

Task<Result<Page<AuditRecord>>> SqlStore::listAudit(TenantId tenant, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), page = std::move(page)](Database& db) {
    return readPage(db,
                    {"audit/" + tenant.text(),
                     "SELECT id, tenant_id, actor, action, subject, detail, at FROM audit WHERE tenant_id = $1",
                     {bind(tenant)}, "at", "id"},
                    page, auditFrom);
  });
}

}  // namespace gs

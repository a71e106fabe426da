#include "server/store/schema.h"
#include "server/store/sql_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

constexpr std::string_view kKeySelect =
    "SELECT k.id, k.tenant_id, k.user_id, k.name, k.role, u.role, k.secret_hash, k.created_at, k.last_used_at, "
    "k.revoked_at FROM api_key k JOIN user_account u ON u.id = k.user_id WHERE ";

Role roleAt(const Row& row, int column) { return parseRole(row.text(column)).value_or(Role::kViewer); }

ApiKeyRecord keyFrom(const Row& row) {
  ApiKeyRecord out;
  out.id = ApiKeyId::trusted(row.text(0));
  out.tenantId = TenantId::trusted(row.text(1));
  out.userId = UserId::trusted(row.text(2));
  out.name = row.text(3);
  out.role = roleAt(row, 4);
  out.userRole = roleAt(row, 5);
  out.secretHash = row.text(6);
  out.createdAt = timeAt(row, 7);
  out.lastUsedAt = findTimeAt(row, 8);
  out.revokedAt = findTimeAt(row, 9);
  return out;
}

Status insertKey(Database& db, const ApiKeyRecord& key) {
  return orNameTaken(
      db.execute("INSERT INTO api_key (id, tenant_id, user_id, name, role, secret_hash, created_at) "
                 "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                 {bind(key.id), bind(key.tenantId), bind(key.userId), key.name, std::string(roleName(key.role)),
                  Blob{key.secretHash}, bind(key.createdAt)}),
      "API key", key.name);
}

Status insertAll(Database& db, const Store::NewTenant& all) {
  GS_CHECK(orNameTaken(db.execute("INSERT INTO tenant (id, name, created_at) VALUES ($1, $2, $3)",
                                  {bind(all.tenant.id), all.tenant.name, bind(all.tenant.createdAt)}),
                       "tenant", all.tenant.name));
  GS_CHECK(db.execute(
      "INSERT INTO user_account (id, tenant_id, email, role, created_at) VALUES ($1, $2, $3, $4, $5)",
      {bind(all.admin.id), bind(all.admin.tenantId), all.admin.email, std::string(roleName(all.admin.role)),
       bind(all.admin.createdAt)}));
  GS_CHECK(insertKey(db, all.key));
  GS_CHECK(db.execute("INSERT INTO cluster (id, tenant_id, name, kind, is_default, created_at, version) "
                      "VALUES ($1, $2, $3, 'byo', 1, $4, 1)",
                      {bind(all.cluster.id), bind(all.cluster.tenantId), all.cluster.name, bind(all.cluster.createdAt)}));
  return audit(db, all.tenant.id, "system", {"tenant.create", all.tenant.id.text(), all.tenant.name},
               all.tenant.createdAt);
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& path, const Clock* clock) {
  static const SystemClock kSystemClock;
  GS_TRY(auto database, Database::open(path));
  GS_CHECK(migrate(database, serverMigrations()));
  return std::make_unique<SqlStore>(std::move(database), clock != nullptr ? *clock : kSystemClock);
}

Task<Status> SqlStore::insertTenant(NewTenant all) {
  return thread_.transact([all = std::move(all)](Database& db) { return insertAll(db, all); });
}

Task<Result<std::int64_t>> SqlStore::countTenants() {
  return thread_.run([](Database& db) -> Result<std::int64_t> {
    GS_TRY(const auto count,
           db.queryOne("SELECT COUNT(*) FROM tenant", {}, [](const Row& row) { return row.integer(0); }));
    return count.value_or(0);
  });
}

Task<Result<TenantRecord>> SqlStore::getTenant(TenantId id) {
  return thread_.run([id = std::move(id)](Database& db) -> Result<TenantRecord> {
    GS_TRY(auto found, db.queryOne("SELECT id, name, created_at FROM tenant WHERE id = $1", {bind(id)},
                                   [](const Row& row) {
                                     return TenantRecord{TenantId::trusted(row.text(0)), row.text(1), timeAt(row, 2)};
                                   }));
    if (!found) return fail(noSuch("tenant", id.text()));
    return std::move(*found);
  });
}

Task<Result<UserRecord>> SqlStore::getUser(TenantId tenant, UserId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) -> Result<UserRecord> {
    GS_TRY(auto found,
           db.queryOne("SELECT id, tenant_id, email, role, created_at FROM user_account WHERE tenant_id = $1 AND id = $2",
                       {bind(tenant), bind(id)}, [](const Row& row) {
                         return UserRecord{UserId::trusted(row.text(0)), TenantId::trusted(row.text(1)), row.text(2),
                                           roleAt(row, 3), timeAt(row, 4)};
                       }));
    if (!found) return fail(noSuch("user", id.text()));
    return std::move(*found);
  });
}

Task<Status> SqlStore::insertApiKey(Actor actor, ApiKeyRecord key) {
  return thread_.transact([actor = std::move(actor), key = std::move(key)](Database& db) -> Status {
    GS_CHECK(insertKey(db, key));
    return audit(db, actor, {"api_key.create", key.id.text(), fmt::format("{} as {}", key.name, roleName(key.role))},
                 key.createdAt);
  });
}

Task<Result<ApiKeyRecord>> SqlStore::getApiKey(ApiKeyId id) {
  return thread_.run([id = std::move(id)](Database& db) -> Result<ApiKeyRecord> {
    GS_TRY(auto found, db.queryOne(std::string(kKeySelect) + "k.id = $1", {bind(id)}, keyFrom));
    if (!found) return fail(noSuch("API key", id.text()));
    return std::move(*found);
  });
}

Task<Result<Page<ApiKeyRecord>>> SqlStore::listApiKeys(TenantId tenant, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), page = std::move(page)](Database& db) {
    return readPage(db,
                    {"api_key/" + tenant.text(), std::string(kKeySelect) + "k.tenant_id = $1", {bind(tenant)},
                     "k.created_at", "k.id"},
                    page, keyFrom);
  });
}

Task<Status> SqlStore::revokeApiKey(Actor actor, ApiKeyId id) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const auto found, db.queryOne(std::string(kKeySelect) + "k.tenant_id = $1 AND k.id = $2",
                                         {bind(actor.tenantId), bind(id)}, keyFrom));
    if (!found) return fail(noSuch("API key", id.text()));
    if (found->revokedAt) return {};
    GS_CHECK(db.execute("UPDATE api_key SET revoked_at = $1 WHERE id = $2", {bind(now), bind(id)}));
    return audit(db, actor, {"api_key.revoke", id.text(), found->name}, now);
  });
}

Task<Status> SqlStore::touchApiKey(ApiKeyId id, WallTime at) {
  return thread_.transact([id = std::move(id), at](Database& db) -> Status {
    GS_CHECK(db.execute("UPDATE api_key SET last_used_at = $1 WHERE id = $2", {bind(at), bind(id)}));
    return {};
  });
}

}  // namespace gs

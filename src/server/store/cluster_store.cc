#include "server/store/sql_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

constexpr std::string_view kClusterSelect =
    "SELECT c.id, c.tenant_id, c.name, c.kind, c.is_default, c.created_at, c.version, "
    "(SELECT COUNT(*) FROM host h WHERE h.cluster_id = c.id AND h.removed_at IS NULL) "
    "FROM cluster c WHERE c.deleted_at IS NULL AND c.tenant_id = $1";

ClusterRecord clusterFrom(const Row& row) {
  ClusterRecord out;
  out.id = ClusterId::trusted(row.text(0));
  out.tenantId = TenantId::trusted(row.text(1));
  out.name = row.text(2);
  out.kind = row.text(3) == "managed" ? ClusterKind::kManaged : ClusterKind::kByo;
  out.isDefault = row.integer(4) != 0;
  out.createdAt = timeAt(row, 5);
  out.version = row.integer(6);
  out.hostCount = row.integer(7);
  return out;
}

Result<ClusterRecord> readCluster(Database& db, const TenantId& tenant, const ClusterId& id) {
  GS_TRY(auto found, db.queryOne(std::string(kClusterSelect) + " AND c.id = $2", {bind(tenant), bind(id)}, clusterFrom));
  if (!found) return fail(noSuch("cluster", id.text()));
  return std::move(*found);
}

constexpr std::string_view kTokenSelect =
    "SELECT id, tenant_id, cluster_id, name, secret_hash, max_uses, uses, created_at, expires_at, revoked_at "
    "FROM provisioning_token WHERE tenant_id = $1";

TokenRecord tokenFrom(const Row& row) {
  TokenRecord out;
  out.id = TokenId::trusted(row.text(0));
  out.tenantId = TenantId::trusted(row.text(1));
  out.clusterId = ClusterId::trusted(row.text(2));
  out.name = row.text(3);
  out.secretHash = row.text(4);
  out.maxUses = row.integer(5);
  out.uses = row.integer(6);
  out.createdAt = timeAt(row, 7);
  out.expiresAt = timeAt(row, 8);
  out.revokedAt = findTimeAt(row, 9);
  return out;
}

Result<TokenRecord> readToken(Database& db, const TenantId& tenant, const TokenId& id) {
  GS_TRY(auto found, db.queryOne(std::string(kTokenSelect) + " AND id = $2", {bind(tenant), bind(id)}, tokenFrom));
  if (!found) return fail(noSuch("provisioning token", id.text()));
  return std::move(*found);
}

}  // namespace

Task<Status> SqlStore::insertCluster(Actor actor, ClusterRecord cluster) {
  return thread_.transact([actor = std::move(actor), cluster = std::move(cluster)](Database& db) -> Status {
    const std::string kind = cluster.kind == ClusterKind::kManaged ? "managed" : "byo";
    GS_CHECK(orNameTaken(
        db.execute("INSERT INTO cluster (id, tenant_id, name, kind, is_default, created_at, version) "
                   "VALUES ($1, $2, $3, $4, 0, $5, 1)",
                   {bind(cluster.id), bind(actor.tenantId), cluster.name, kind, bind(cluster.createdAt)}),
        "cluster", cluster.name));
    return audit(db, actor, {"cluster.create", cluster.id.text(), cluster.name}, cluster.createdAt);
  });
}

Task<Result<ClusterRecord>> SqlStore::getCluster(TenantId tenant, ClusterId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) {
    return readCluster(db, tenant, id);
  });
}

Task<Result<ClusterRecord>> SqlStore::getDefaultCluster(TenantId tenant) {
  return thread_.run([tenant = std::move(tenant)](Database& db) -> Result<ClusterRecord> {
    GS_TRY(auto found, db.queryOne(std::string(kClusterSelect) + " AND c.is_default = 1", {bind(tenant)}, clusterFrom));
    if (!found) return fail(noSuch("tenant", tenant.text()));
    return std::move(*found);
  });
}

Task<Result<Page<ClusterRecord>>> SqlStore::listClusters(TenantId tenant, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), page = std::move(page)](Database& db) {
    return readPage(
        db, {"cluster/" + tenant.text(), std::string(kClusterSelect), {bind(tenant)}, "c.created_at", "c.id"}, page,
        clusterFrom);
  });
}

Task<Result<ClusterRecord>> SqlStore::renameCluster(Actor actor, ClusterId id, std::string name,
                                                    std::int64_t expectedVersion) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), name = std::move(name), expectedVersion,
                           now = clock_.wallNow()](Database& db) -> Result<ClusterRecord> {
    GS_TRY(const ClusterRecord before, readCluster(db, actor.tenantId, id));
    if (before.version != expectedVersion) return fail(staleVersion("cluster", before.version));
    if (before.name == name) return before;
    GS_CHECK(orNameTaken(
        db.execute("UPDATE cluster SET name = $1, version = version + 1 WHERE id = $2", {name, bind(id)}), "cluster",
        name));
    GS_CHECK(audit(db, actor, {"cluster.rename", id.text(), fmt::format("{} to {}", before.name, name)}, now));
    return readCluster(db, actor.tenantId, id);
  });
}

Task<Status> SqlStore::deleteCluster(Actor actor, ClusterId id) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const ClusterRecord cluster, readCluster(db, actor.tenantId, id));
    if (cluster.isDefault) {
      return fail(makeError(ErrorCode::kFailedPrecondition, "the default cluster of a tenant cannot be deleted")
                      .withReason("default_cluster"));
    }
    if (cluster.hostCount > 0) {
      return fail(makeError(ErrorCode::kFailedPrecondition,
                            fmt::format("the cluster {} has {} hosts", cluster.name, cluster.hostCount))
                      .withReason("cluster_not_empty")
                      .withFix("remove its hosts first"));
    }
    GS_TRY(const auto homeless, db.queryOne("SELECT COUNT(*) FROM sandbox WHERE cluster_id = $1 AND host_id IS NULL", {bind(id)},
                                            [](const Row& row) { return row.integer(0); }));
    if (homeless.value_or(0) > 0) {
      return fail(makeError(ErrorCode::kFailedPrecondition,
                            fmt::format("{} sandboxes without a host belong to the cluster {}", *homeless, cluster.name))
                      .withReason("cluster_not_empty")
                      .withFix("delete them first"));
    }
    GS_CHECK(db.execute("UPDATE provisioning_token SET revoked_at = $1 WHERE cluster_id = $2 AND revoked_at IS NULL",
                        {bind(now), bind(id)}));
    GS_CHECK(db.execute("UPDATE cluster SET deleted_at = $1 WHERE id = $2", {bind(now), bind(id)}));
    return audit(db, actor, {"cluster.delete", id.text(), cluster.name}, now);
  });
}

Task<Status> SqlStore::insertToken(Actor actor, TokenRecord token) {
  return thread_.transact([actor = std::move(actor), token = std::move(token)](Database& db) -> Status {
    GS_TRY(const ClusterRecord cluster, readCluster(db, actor.tenantId, token.clusterId));
    if (cluster.kind == ClusterKind::kManaged) {
      return fail(makeError(ErrorCode::kFailedPrecondition,
                            fmt::format("hosts never enroll into the managed cluster {}", cluster.name))
                      .withReason("managed_cluster")
                      .withFix("use a cluster of kind byo"));
    }
    GS_CHECK(orNameTaken(
        db.execute("INSERT INTO provisioning_token (id, tenant_id, cluster_id, name, secret_hash, max_uses, uses, "
                   "created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)",
                   {bind(token.id), bind(actor.tenantId), bind(token.clusterId), token.name, Blob{token.secretHash},
                    token.maxUses, bind(token.createdAt), bind(token.expiresAt)}),
        "provisioning token", token.name));
    return audit(db, actor,
                 {"token.create", token.id.text(), fmt::format("{} uses into {}", token.maxUses, cluster.id.text())},
                 token.createdAt);
  });
}

Task<Result<TokenRecord>> SqlStore::getToken(TenantId tenant, TokenId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) { return readToken(db, tenant, id); });
}

Task<Result<Page<TokenRecord>>> SqlStore::listTokens(TenantId tenant, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), page = std::move(page)](Database& db) {
    return readPage(db, {"token/" + tenant.text(), std::string(kTokenSelect), {bind(tenant)}, "created_at", "id"}, page,
                    tokenFrom);
  });
}

Task<Status> SqlStore::revokeToken(Actor actor, TokenId id) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const TokenRecord token, readToken(db, actor.tenantId, id));
    if (token.revokedAt) return {};
    GS_CHECK(db.execute("UPDATE provisioning_token SET revoked_at = $1 WHERE id = $2", {bind(now), bind(id)}));
    return audit(db, actor, {"token.revoke", id.text(), token.name}, now);
  });
}

}  // namespace gs

#include "server/core/fault.h"
#include "server/store/blueprint_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

constexpr std::string_view kBlueprintSelect =
    "SELECT id, tenant_id, name, manifest_digest, manifest, image_config, architecture, os, size_bytes, "
    "archive_digest, source, created_by, created_at FROM blueprint WHERE tenant_id = $1";

Digest digestAt(const Row& row, int column) { return Digest::parse(row.text(column)).value_or(Digest{}); }

BlueprintRecord blueprintFrom(const Row& row) {
  BlueprintRecord out;
  out.id = BlueprintId::trusted(row.text(0));
  out.tenantId = TenantId::trusted(row.text(1));
  out.name = row.text(2);
  out.manifestDigest = digestAt(row, 3);
  out.manifest = row.text(4);
  out.imageConfig = row.text(5);
  out.architecture = row.text(6);
  out.os = row.text(7);
  out.sizeBytes = row.integer(8);
  out.archiveDigest = digestAt(row, 9);
  out.source = row.text(10);
  out.createdBy = UserId::trusted(row.text(11));
  out.createdAt = timeAt(row, 12);
  return out;
}

Result<BlueprintRecord> readWhere(Database& db, const TenantId& tenant, std::string_view condition, std::string value) {
  GS_TRY(auto found, db.queryOne(std::string(kBlueprintSelect) + std::string(condition), {bind(tenant), value},
                                 blueprintFrom));
  if (!found) return fail(noSuch("blueprint", value));
  return std::move(*found);
}

Result<std::vector<std::string>> usersOf(Database& db, const BlueprintId& id) {
  std::vector<std::string> out;
  GS_CHECK(db.query("SELECT id, name FROM sandbox WHERE blueprint_id = $1 ORDER BY name LIMIT $2",
                    {bind(id), static_cast<std::int64_t>(kMaxFaults)}, [&](const Row& row) {
                      out.push_back(faultLine("/sandboxes/" + row.text(0), "sandbox " + row.text(1) + " uses it"));
                    }));
  return out;
}

}  // namespace

namespace sql {

Result<BlueprintRecord> readBlueprint(Database& db, const TenantId& tenant, const BlueprintId& id) {
  return readWhere(db, tenant, " AND id = $2", id.text());
}

}  // namespace sql

Task<Status> SqlStore::insertBlueprint(Actor actor, BlueprintRecord blueprint) {
  return thread_.transact([actor = std::move(actor), b = std::move(blueprint)](Database& db) -> Status {
    GS_CHECK(orNameTaken(
        db.execute("INSERT INTO blueprint (id, tenant_id, name, manifest_digest, manifest, image_config, architecture, "
                   "os, size_bytes, archive_digest, source, created_by, created_at) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                   {bind(b.id), bind(actor.tenantId), b.name, b.manifestDigest.text(), b.manifest, Blob{b.imageConfig},
                    b.architecture, b.os, b.sizeBytes, b.archiveDigest.text(), b.source, bind(b.createdBy),
                    bind(b.createdAt)}),
        "blueprint", b.name));
    return audit(db, actor, {"blueprint.create", b.id.text(), b.name + " " + b.manifestDigest.text()}, b.createdAt);
  });
}

Task<Result<BlueprintRecord>> SqlStore::getBlueprint(TenantId tenant, BlueprintId id) {
  return thread_.run([tenant = std::move(tenant), id = std::move(id)](Database& db) {
    return readWhere(db, tenant, " AND id = $2", id.text());
  });
}

Task<Result<BlueprintRecord>> SqlStore::findBlueprint(TenantId tenant, std::string reference) {
  return thread_.run([tenant = std::move(tenant), reference = std::move(reference)](Database& db) {
    // A name has neither underscore nor colon, so the three forms cannot be mistaken for each other.
    if (reference.starts_with("sha256:")) {
      return readWhere(db, tenant, " AND manifest_digest = $2 ORDER BY created_at, id LIMIT 1", reference);
    }
    if (isIdText("bpt", reference)) return readWhere(db, tenant, " AND id = $2", reference);
    return readWhere(db, tenant, " AND name = $2", reference);
  });
}

Task<Result<Page<BlueprintRecord>>> SqlStore::listBlueprints(TenantId tenant, PageRequest page) {
  return thread_.run([tenant = std::move(tenant), page = std::move(page)](Database& db) {
    return readPage(db, {"blueprint/" + tenant.text(), std::string(kBlueprintSelect), {bind(tenant)}, "created_at", "id"},
                    page, blueprintFrom);
  });
}

Task<Status> SqlStore::deleteBlueprint(Actor actor, BlueprintId id) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const BlueprintRecord blueprint, readWhere(db, actor.tenantId, " AND id = $2", id.text()));
    GS_TRY(auto users, usersOf(db, id));
    if (!users.empty()) {
      Error error = makeError(ErrorCode::kFailedPrecondition,
                              fmt::format("sandboxes use the blueprint {}", blueprint.name));
      error.reason = "blueprint_in_use";
      error.fix = "delete these sandboxes first";
      error.details = std::move(users);
      return fail(std::move(error));
    }
    GS_CHECK(db.execute("DELETE FROM blueprint WHERE id = $1", {bind(id)}));
    return audit(db, actor, {"blueprint.delete", id.text(), blueprint.name}, now);
  });
}

Task<Result<std::vector<std::string>>> SqlStore::allManifests() {
  return thread_.run([](Database& db) -> Result<std::vector<std::string>> {
    std::vector<std::string> out;
    GS_CHECK(db.query("SELECT manifest FROM blueprint UNION SELECT manifest FROM sandbox_archive", {}, [&](const Row& row) { out.push_back(row.text(0)); }));
    return out;
  });
}

}  // namespace gs

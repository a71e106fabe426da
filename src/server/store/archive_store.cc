// Sandboxes that are being archived, archived, and restored.

#include "server/store/archive_rows.h"
#include "server/store/blueprint_rows.h"
#include "server/store/event_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sql_store.h"
#include "wire/messages.h"

namespace gs {
namespace {

using namespace sql;

struct Version {
  std::string manifest;
  std::string imageConfig;
};

// The version that the sandbox's root file system was made of: that of its archive, or its blueprint's.
Result<Version> versionOf(Database& db, const SandboxRecord& s) {
  GS_TRY(auto archived, db.queryOne("SELECT manifest, image_config FROM sandbox_archive WHERE sandbox_id = $1 AND manifest_digest = $2",
                                    {bind(s.id), s.spec.manifest.text()},
                                    [](const Row& row) { return Version{row.text(0), row.text(1)}; }));
  if (archived) return std::move(*archived);
  GS_TRY(auto blueprint, readBlueprint(db, s.tenantId, s.blueprintId));
  if (blueprint.manifestDigest != s.spec.manifest) {
    return fail(ErrorCode::kDataLoss, fmt::format("the version that sandbox {} was made of is not on record", s.name));
  }
  return Version{std::move(blueprint.manifest), std::move(blueprint.imageConfig)};
}

Result<SandboxRow> readArchiving(Database& db, const HostId& host, const SandboxId& id, std::int64_t generation) {
  GS_TRY(SandboxRow row, readSandboxOn(db, host, id));
  if (row.observed.desired != DesiredState::kArchived || row.observed.generation != generation) {
    return fail(refusedWish("not_archiving", fmt::format("sandbox {} is not to be archived, or not in generation {}", id, generation)));
  }
  return row;
}

// From here on the host is told to remove it until it says that it did, whatever becomes of the sandbox.
Status writeRelease(Database& db, const SandboxRecord& s, std::int64_t generation, WallTime now) {
  Assignment assignment = assignmentOf(s);
  assignment.generation = static_cast<std::uint64_t>(generation);
  assignment.desired = DesiredState::kDeleted;
  GS_CHECK(db.execute("DELETE FROM host_release WHERE host_id = $1 AND sandbox_id = $2", {bind(s.hostId), bind(s.id)}));
  GS_CHECK(db.execute("INSERT INTO host_release (host_id, sandbox_id, generation, assignment, created_at) VALUES ($1, $2, $3, $4, $5)",
                      {bind(s.hostId), bind(s.id), generation, Blob{encode(assignment)}, bind(now)}));
  return {};
}

Status writeArchive(Database& db, const SandboxRecord& s, const Store::FinishedArchive& a, WallTime now) {
  GS_CHECK(db.execute("DELETE FROM sandbox_archive WHERE sandbox_id = $1", {bind(s.id)}));
  GS_CHECK(db.execute("INSERT INTO sandbox_archive (sandbox_id, tenant_id, manifest_digest, manifest, image_config, size_bytes, "
                      "layer_bytes, archived_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                      {bind(s.id), bind(s.tenantId), a.manifestDigest.text(), a.manifest, Blob{a.imageConfig}, a.sizeBytes,
                       a.layerBytes, bind(now)}));
  return {};
}

}  // namespace

namespace sql {

bool isAway(const SandboxRecord& s) { return s.hostId.empty() && s.desired == DesiredState::kArchived; }

Result<SandboxRecord> wishAway(Database& db, const Actor& actor, SandboxRow row, DesiredState desired, WallTime now) {
  SandboxRecord& s = row.observed;
  if (desired == DesiredState::kArchived) return row.shown();
  if (desired != DesiredState::kDeleted) {
    return fail(refusedWish("sandbox_archived", fmt::format("sandbox {} is archived", s.name), "restore it"));
  }
  GS_CHECK(eraseSandbox(db, s.id));
  GS_CHECK(audit(db, actor, {"sandbox.delete", s.id.text(), s.name + ", it was archived"}, now));
  s.desired = DesiredState::kDeleted;
  s.state = SandboxState::kDeleted;
  GS_CHECK(recordEvent(db, s, SandboxEventKind::kDeleted, auditActor(actor), now));
  return std::move(s);
}

Status addReleases(Database& db, const HostId& host, std::vector<SandboxRecord>& out) {
  GS_CHECK(db.query("SELECT assignment FROM host_release WHERE host_id = $1 ORDER BY sandbox_id", {bind(host)}, [&](const Row& row) {
    auto assignment = decodeAssignment(row.text(0));
    if (!assignment) return;
    SandboxRecord record;
    record.id = std::move(assignment->sandboxId);
    record.hostId = host;
    record.name = assignment->spec.name;
    record.spec = std::move(assignment->spec);
    record.desired = assignment->desired;
    record.generation = static_cast<std::int64_t>(assignment->generation);
    record.rootGeneration = static_cast<std::int64_t>(assignment->rootGeneration);
    out.push_back(std::move(record));
  }));
  return {};
}

Result<std::optional<SandboxRecord>> noteRelease(Database& db, const HostId& host, const Observation& o) {
  GS_TRY(const auto generation, db.queryOne("SELECT generation FROM host_release WHERE host_id = $1 AND sandbox_id = $2",
                                            {bind(host), bind(o.sandboxId)}, [](const Row& row) { return row.integer(0); }));
  if (!generation) return std::optional<SandboxRecord>();
  // Anything else that this host says of it is of a life that is over.
  if (o.state == SandboxState::kDeleted && static_cast<std::int64_t>(o.generation) >= *generation) {
    GS_CHECK(db.execute("DELETE FROM host_release WHERE host_id = $1 AND sandbox_id = $2", {bind(host), bind(o.sandboxId)}));
  }
  GS_TRY(auto present, db.queryOne(std::string(kSandboxSelect) + "s.id = $1", {bind(o.sandboxId)}, shownSandboxFrom));
  if (present) return present;
  SandboxRecord gone;
  gone.id = o.sandboxId;
  gone.state = SandboxState::kDeleted;
  return std::optional(std::move(gone));
}

}  // namespace sql

Task<Result<SandboxRecord>> SqlStore::archive(Actor actor, SandboxId id, Millis stopGrace) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), stopGrace,
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandbox(db, actor.tenantId, id));
    SandboxRecord& s = row.observed;
    if (isAway(s)) return row.shown();
    const bool failed = s.state == SandboxState::kFailed && isCurrent(s);
    if (s.desired == DesiredState::kArchived && !failed) return row.shown();
    if (s.desired != DesiredState::kArchived) GS_CHECK(checkMayChange(row));
    if (s.hostId.empty()) {
      return fail(refusedWish("nothing_to_archive", fmt::format("sandbox {} waits for a host and has written nothing", s.name)));
    }
    GS_TRY(const auto host, findHost(db, s.hostId));
    if (host) GS_CHECK(checkKnows(*host, kFeatureArchive));
    s.stopGrace = stopGrace;
    GS_CHECK(wish(db, actor, row, DesiredState::kArchived, stopGrace, now));
    return row.shown();
  });
}

Task<Result<Store::ArchiveTarget>> SqlStore::archiveTarget(HostId host, SandboxId id, std::int64_t generation) {
  return thread_.run([host = std::move(host), id = std::move(id), generation](Database& db) -> Result<ArchiveTarget> {
    GS_TRY(SandboxRow row, readArchiving(db, host, id, generation));
    GS_TRY(Version version, versionOf(db, row.observed));
    return ArchiveTarget{std::move(row.observed), std::move(version.manifest), std::move(version.imageConfig)};
  });
}

Task<Result<SandboxRecord>> SqlStore::finishArchive(HostId host, SandboxId id, FinishedArchive archive) {
  return thread_.transact([host = std::move(host), id = std::move(id), archive = std::move(archive),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readArchiving(db, host, id, archive.generation));
    SandboxRecord& s = row.observed;
    const auto generation = nextGeneration(s);
    GS_CHECK(writeRelease(db, s, generation, now));
    GS_CHECK(writeArchive(db, s, archive, now));
    s.archive = SandboxArchive{archive.manifestDigest, archive.sizeBytes, archive.layerBytes, now};
    s.spec.manifest = archive.manifestDigest;
    s.generation = s.observedGeneration = generation;
    s.hostId = {};
    row.host = {};
    s.state = SandboxState::kArchived;
    s.reason.clear();
    s.message.clear();
    s.updatedAt = now;
    s.version += 1;
    GS_CHECK(updateSandbox(db, s));
    GS_CHECK(recordEvent(db, row, SandboxEventKind::kArchived, host.text(), now));
    GS_CHECK(audit(db, s.tenantId, host.text(), {"sandbox.archived", s.id.text(), s.name}, now));
    return row.shown();
  });
}

Task<Result<std::vector<SandboxId>>> SqlStore::archivingSandboxes() {
  return thread_.run([](Database& db) -> Result<std::vector<SandboxId>> {
    std::vector<SandboxId> out;
    GS_CHECK(db.query("SELECT id FROM sandbox WHERE desired = 'archived' AND host_id IS NOT NULL ORDER BY id", {},
                      [&](const Row& row) { out.push_back(SandboxId::trusted(row.text(0))); }));
    return out;
  });
}

Task<Result<SandboxRecord>> SqlStore::restore(Actor actor, SandboxId id, Placing placing) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), placing = std::move(placing),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandbox(db, actor.tenantId, id));
    SandboxRecord& s = row.observed;
    if (!isAway(s)) {
      if (s.archive && s.desired == DesiredState::kRunning) return row.shown();
      return fail(refusedWish("not_archived", fmt::format("sandbox {} is not archived", s.name)));
    }
    GS_TRY(const auto hosts, readHostLoads(db, actor.tenantId, placing.hosts));
    GS_TRY(const std::size_t chosen, placing.choose(hosts));
    const HostRecord& host = hosts.at(chosen).host;
    // It may be the host that has not got to removing it yet: then what it has is replaced, not removed.
    GS_CHECK(db.execute("DELETE FROM host_release WHERE host_id = $1 AND sandbox_id = $2", {bind(host.id), bind(s.id)}));
    s.hostId = host.id;
    s.clusterId = host.clusterId;
    row.host = {host.state, host.name, host.lastSeenAt};
    s.state = SandboxState::kPlacing;
    s.reason = "pending_placement";
    s.rootGeneration = nextGeneration(s);
    GS_CHECK(db.execute("UPDATE sandbox SET placed_at = $1 WHERE id = $2", {bind(now), bind(s.id)}));
    GS_CHECK(wish(db, actor, row, DesiredState::kRunning, s.stopGrace, now, {"sandbox.restore", SandboxEventKind::kRestoreRequested}));
    return row.shown();
  });
}

Task<Result<std::string>> SqlStore::manifestFor(HostId host, Digest manifest) {
  return thread_.run([host = std::move(host), manifest = std::move(manifest)](Database& db) -> Result<std::string> {
    std::vector<SandboxRecord> users;
    GS_CHECK(db.query(std::string(kSandboxSelect) + "s.host_id = $1 AND s.manifest_digest = $2 ORDER BY s.id LIMIT 1",
                      {bind(host), manifest.text()}, [&](const Row& row) { users.push_back(sandboxRowFrom(row).observed); }));
    if (users.empty()) return fail(ErrorCode::kNotFound, fmt::format("no sandbox of this host uses the blueprint {}", manifest.text()));
    GS_TRY(auto version, versionOf(db, users.front()));
    return std::move(version.manifest);
  });
}

}  // namespace gs

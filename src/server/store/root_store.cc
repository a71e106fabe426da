// Wishes about a sandbox's root file system.

#include "server/store/archive_rows.h"
#include "server/store/blueprint_rows.h"
#include "server/store/host_rows.h"
#include "server/store/repeat_rows.h"
#include "server/store/sql_store.h"
#include "wire/messages.h"

namespace gs {

using namespace sql;

namespace sql {

Error refusedWish(std::string_view reason, std::string message, std::string fix) {
  Error error = makeError(ErrorCode::kFailedPrecondition, std::move(message)).withReason(std::string(reason));
  error.fix = std::move(fix);
  return error;
}

Status checkMayChange(const SandboxRow& row) {
  const SandboxRecord& s = row.observed;
  if (row.host.state == HostState::kRevoked) {
    return fail(refusedWish("host_removed", fmt::format("the host of sandbox {} was removed", s.name),
                        "delete the sandbox and create another"));
  }
  if (s.desired == DesiredState::kDeleted) {
    return fail(refusedWish("sandbox_deleting", fmt::format("sandbox {} is being deleted", s.name)));
  }
  if (s.desired == DesiredState::kArchived) {
    return fail(refusedWish("sandbox_archived", fmt::format("sandbox {} is archived", s.name), "restore it first"));
  }
  return {};
}

// An agent that does not know the wish would quietly do nothing about it.
Status checkKnows(const HostRecord& host, std::string_view feature) {
  if (std::find(host.features.begin(), host.features.end(), feature) != host.features.end()) return {};
  return fail(refusedWish("agent_too_old", fmt::format("the agent of host {} is too old for this", host.name),
                      fmt::format("upgrade gstacks-agent on host {}", host.name)));
}

}  // namespace sql

namespace {

Status checkOnHost(Database& db, const SandboxRecord& s, const BlueprintRecord& blueprint, const Store::Reprovisioning& wish) {
  if (s.hostId.empty()) return {};
  GS_TRY(const auto loads, readHostLoads(db, s.tenantId, {s.clusterId, s.hostId, blueprint.manifestDigest}));
  if (loads.empty()) return fail(refusedWish("host_removed", fmt::format("the host of sandbox {} was removed", s.name)));
  GS_CHECK(checkKnows(loads.front().host, kFeatureReprovision));
  return wish.check ? wish.check(loads.front(), blueprint) : Status();
}

}  // namespace

Task<Result<SandboxRecord>> SqlStore::reprovision(Actor actor, SandboxId id, Reprovisioning wanted) {
  return thread_.transact([actor = std::move(actor), id = std::move(id), wanted = std::move(wanted),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    if (wanted.repeat) {
      GS_TRY(auto before, readRepeated(db, actor.tenantId, *wanted.repeat, now));
      if (before) return std::move(*before);
    }
    GS_TRY(SandboxRow row, readSandbox(db, actor.tenantId, id));
    SandboxRecord& s = row.observed;
    GS_CHECK(checkMayChange(row));
    GS_TRY(const BlueprintRecord blueprint,
           readBlueprint(db, actor.tenantId, wanted.blueprint ? wanted.blueprint->id : s.blueprintId));
    GS_CHECK(checkOnHost(db, s, blueprint, wanted));
    s.blueprintId = blueprint.id;
    s.spec.blueprintName = blueprint.name;
    s.spec.manifest = blueprint.manifestDigest;
    // A root file system that came from an archive is given up with it.
    GS_CHECK(db.execute("DELETE FROM sandbox_archive WHERE sandbox_id = $1", {bind(s.id)}));
    s.archive.reset();
    s.rootGeneration = nextGeneration(s);
    s.stopGrace = wanted.stopGrace;
    if (s.hostId.empty()) {
      s.state = SandboxState::kRequested;
      s.reason = "no_host_fits";
      s.message = "it waits for a host";
    }
    GS_CHECK(wish(db, actor, row, DesiredState::kRunning, wanted.stopGrace, now,
                  {"sandbox.reprovision", SandboxEventKind::kReprovisionRequested}));
    if (wanted.repeat) GS_CHECK(writeRepeat(db, s, *wanted.repeat, now));
    return row.shown();
  });
}

}  // namespace gs

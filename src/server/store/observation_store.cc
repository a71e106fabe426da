#include "server/core/death_certificate.h"
#include "server/store/event_rows.h"
#include "server/store/archive_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sandbox_rows.h"
#include "server/store/sql_store.h"

namespace gs {
namespace {

using namespace sql;

bool isNewer(const Observation& observation, const SandboxRecord& s) {
  const auto generation = static_cast<std::int64_t>(observation.generation);
  const auto sequence = static_cast<std::int64_t>(observation.sequence);
  return std::pair(generation, sequence) > std::pair(s.observedGeneration, s.sequence);
}

void take(SandboxRecord& s, const Observation& o, WallTime now) {
  // Not used yet, but it could not be before: a long provisioning is no idling. A restart by its policy is no use.
  const bool nowRuns = o.state == SandboxState::kRunning && s.state != SandboxState::kRunning;
  if (nowRuns && o.restarts == 0) s.activeAt = now;
  s.observedGeneration = static_cast<std::int64_t>(o.generation);
  s.sequence = static_cast<std::int64_t>(o.sequence);
  s.state = o.state;
  s.reason = o.reason;
  s.message = o.message;
  const auto cause = causeOf(o, s.exit);
  s.exit = o.exit;
  if (s.exit) s.exit->cause = cause;
  s.restarts = o.restarts;
  if (o.startedAt) {
    s.startedAt = o.startedAt;
  } else if (o.state == SandboxState::kRunning && !s.startedAt) {
    s.startedAt = o.observedAt;
  }
  if (o.state == SandboxState::kArchived) {
    // Not for a host to say: it is archived when everything is here (finishArchive).
    s.state = SandboxState::kStopped;
    s.reason = "archiving";
  }
  if (o.state == SandboxState::kDeleted) {
    // Deletion that nobody asked for is a loss, and a loss is shown, not swept away with the record.
    s.state = SandboxState::kFailed;
    s.reason = "runtime_error";
    s.message = "the host says that the sandbox is gone, although its deletion was not asked for";
  }
  s.updatedAt = now;
  s.version += 1;
}

// Whoever made the wish of a generation. The record knows the last wish only, and an end may be of one before it.
Result<std::string> wisherOf(Database& db, const SandboxRecord& s, std::int64_t generation) {
  if (generation >= s.generation) return s.desiredBy;
  GS_TRY(auto found, db.queryOne("SELECT actor FROM sandbox_event WHERE sandbox_id = $1 AND generation = $2 ORDER BY id LIMIT 1",
                                 {bind(s.id), generation}, [](const Row& row) { return row.text(0); }));
  return found.value_or("");
}

// The rest of the certificate, when the run that `before` shows has ended.
Status certify(Database& db, SandboxRecord& s, const std::optional<ExitInfo>& before, const HostId& host) {
  // Told again: whoever ended it did so then.
  if (s.exit == before) return {};
  s.exitBy.clear();
  if (!s.exit) return {};
  GS_TRY(const std::string wisher, wisherOf(db, s, s.observedGeneration));
  s.exitBy = enderOf(s.exit->cause, s.id, host, wisher);
  return {};
}

std::string stateDetail(const SandboxRecord& s) {
  std::string out = s.name;
  if (!s.reason.empty()) out += ", " + s.reason;
  if (s.exit) {
    if (s.exit->signal > 0) {
      out += fmt::format(", signal {}", s.exit->signal);
    } else if (s.exit->code >= 0) {
      out += fmt::format(", code {}", s.exit->code);
    }
    if (!s.exitBy.empty()) out += fmt::format(", {} by {}", exitCauseName(s.exit->cause), s.exitBy);
  }
  return out + fmt::format(", generation {}", s.observedGeneration);
}

// A change of state, or a new reason for it, as the host said; the same said again is none.
Status auditState(Database& db, const SandboxRecord& before, const SandboxRecord& s, const HostId& host, WallTime now) {
  if (s.state == before.state && s.reason == before.reason && s.exit == before.exit) return {};
  return audit(db, s.tenantId, host.text(),
               {fmt::format("sandbox.{}", sandboxStateName(s.state)), s.id.text(), stateDetail(s)}, now);
}

Result<SandboxRecord> finishDeletion(Database& db, SandboxRecord s, const HostId& host, WallTime now) {
  GS_CHECK(eraseSandbox(db, s.id));
  GS_CHECK(audit(db, s.tenantId, host.text(), {"sandbox.deleted", s.id.text(), s.name}, now));
  s.state = SandboxState::kDeleted;
  s.reason.clear();
  s.message.clear();
  GS_CHECK(recordEvent(db, s, SandboxEventKind::kDeleted, host.text(), now));
  return s;
}

// The first outcome of a sandbox says something about its host.
Status judgeHost(Database& db, const SandboxRecord& s, WallTime now) {
  const auto outcome = creationOutcome(s.state, s.reason);
  if (outcome == CreationOutcome::kPending) return {};
  GS_TRY(const auto first, db.execute("UPDATE sandbox SET judged = 1 WHERE id = $1 AND judged = 0", {bind(s.id)}));
  if (first == 0) return {};
  GS_TRY(const auto host, findHost(db, s.hostId));
  if (!host) return {};
  GS_TRY(const auto placedAt, db.queryOne("SELECT placed_at FROM sandbox WHERE id = $1", {bind(s.id)},
                                          [](const Row& row) { return findTimeAt(row, 0); }));
  const HostTrial after = judgeCreation(host->trial, outcome, placedAt.value_or(std::nullopt).value_or(s.createdAt), now);
  return after == host->trial ? Status{} : writeTrial(db, s.hostId, after);
}

}  // namespace

Task<Result<SandboxRecord>> SqlStore::applyObservation(HostId host, Observation observation) {
  return thread_.transact([host = std::move(host), o = std::move(observation),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(auto released, noteRelease(db, host, o));
    if (released) return std::move(*released);
    GS_TRY(SandboxRow row, readSandboxOn(db, host, o.sandboxId));
    if (!isNewer(o, row.observed)) return row.shown();
    // Of the life before it was archived; it has come back to this host since.
    if (o.state == SandboxState::kDeleted && static_cast<std::int64_t>(o.generation) < row.observed.rootGeneration) return row.shown();
    if (o.state == SandboxState::kDeleted && row.observed.desired == DesiredState::kDeleted) {
      return finishDeletion(db, std::move(row.observed), host, now);
    }
    const SandboxRow before = row;
    take(row.observed, o, now);
    GS_CHECK(certify(db, row.observed, before.observed.exit, host));
    GS_CHECK(updateSandbox(db, row.observed));
    GS_CHECK(auditState(db, before.observed, row.observed, host, now));
    // A host may say the same again under a new sequence; that is news for the record alone.
    if (looksDifferent(before.shown(), row.shown())) GS_CHECK(recordEvent(db, row, SandboxEventKind::kObserved, host.text(), now));
    GS_CHECK(judgeHost(db, row.observed, now));
    return row.shown();
  });
}

Task<Result<SandboxRecord>> SqlStore::refuseAssignment(HostId host, SandboxId id, std::int64_t generation,
                                                       std::string message) {
  return thread_.transact([host = std::move(host), id = std::move(id), generation, message = std::move(message),
                           now = clock_.wallNow()](Database& db) -> Result<SandboxRecord> {
    GS_TRY(SandboxRow row, readSandboxOn(db, host, id));
    SandboxRecord& s = row.observed;
    if (generation != s.generation || s.observedGeneration >= generation) return row.shown();
    const SandboxRecord before = s;
    s.state = SandboxState::kFailed;
    s.reason = "spec_rejected";
    s.message = message;
    // Any observation of this generation is newer than a refusal of it, whatever its sequence.
    s.observedGeneration = generation;
    s.sequence = 0;
    s.updatedAt = now;
    s.version += 1;
    GS_CHECK(updateSandbox(db, s));
    GS_CHECK(auditState(db, before, s, host, now));
    GS_CHECK(recordEvent(db, row, SandboxEventKind::kRefused, host.text(), now));
    GS_CHECK(judgeHost(db, s, now));
    return row.shown();
  });
}

}  // namespace gs

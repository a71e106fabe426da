#include "agent/sandboxes/journal.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/log.h"
#include "wire/messages.h"

namespace gs {
namespace {

struct StoredRow {
  std::string id, assignment, intent, runBootId, execUser, execWorkingDir, observation, checksum, additions, additionsChecksum;
  std::int64_t runGeneration = 0, failedGeneration = 0, ackedSequence = 0;
  std::optional<std::int64_t> startedBeforeMs;

  // Over every other column, with lengths, so that no two rows share one text.
  [[nodiscard]] std::string computeChecksum() const {
    Hasher hasher;
    for (const auto* text : {&id, &assignment, &intent, &runBootId, &execUser, &execWorkingDir, &observation}) {
      hasher.update(fmt::format("{}:", text->size()));
      hasher.update(*text);
    }
    hasher.update(fmt::format("{},{},{},{}", runGeneration, failedGeneration, ackedSequence,
                              startedBeforeMs ? fmt::format("{}", *startedBeforeMs) : "-"));
    return hasher.finish().hex();
  }
  [[nodiscard]] std::string computeAdditionsChecksum() const {
    Hasher hasher;
    hasher.update(checksum);
    hasher.update(additions);
    return hasher.finish().hex();
  }
};

constexpr const char* kRunInstance = "runInstance";
constexpr const char* kEndCause = "endCause";
constexpr const char* kQuickRestarts = "quickRestarts";

std::string additionsOf(const SandboxRecord& record) {
  Json out = Json::object();
  if (!record.runInstance.empty()) out[kRunInstance] = record.runInstance;
  if (record.endCause != ExitCause::kUnspecified) out[kEndCause] = exitCauseName(record.endCause);
  if (record.quickRestarts != 0) out[kQuickRestarts] = record.quickRestarts;
  return canonicalJson(out);
}

void readAdditions(const StoredRow& row, SandboxRecord& record) {
  if (row.additionsChecksum != row.computeAdditionsChecksum()) return;
  const auto json = parseJson(row.additions);
  if (!json || !json->is_object()) return;
  if (const auto found = json->find(kRunInstance); found != json->end() && found->is_string()) record.runInstance = found->get<std::string>();
  if (const auto found = json->find(kEndCause); found != json->end() && found->is_string()) {
    record.endCause = parseExitCause(found->get<std::string>());
  }
  if (const auto found = json->find(kQuickRestarts); found != json->end() && found->is_number_unsigned()) {
    record.quickRestarts = found->get<std::uint32_t>();
  }
}

StoredRow toRow(const SandboxRecord& record) {
  StoredRow row;
  row.id = record.assignment.sandboxId.text();
  row.assignment = encode(record.assignment);
  row.intent = std::string(intentName(record.intent));
  row.runGeneration = static_cast<std::int64_t>(record.runGeneration);
  row.runBootId = record.runBootId;
  if (record.startedBefore) row.startedBeforeMs = toUnixMillis(*record.startedBefore);
  row.failedGeneration = static_cast<std::int64_t>(record.failedGeneration);
  row.execUser = record.execUser;
  row.execWorkingDir = record.execWorkingDir;
  if (record.observation.sequence != 0) row.observation = encode(record.observation);
  row.ackedSequence = static_cast<std::int64_t>(record.ackedSequence);
  row.checksum = row.computeChecksum();
  row.additions = additionsOf(record);
  row.additionsChecksum = row.computeAdditionsChecksum();
  return row;
}

Result<SandboxRecord> toRecord(const StoredRow& row) {
  if (row.checksum != row.computeChecksum()) return fail(ErrorCode::kDataLoss, "the row's checksum does not match");
  SandboxRecord record;
  GS_TRY(record.assignment, decodeAssignment(row.assignment));
  record.intent = parseIntent(row.intent);
  record.runGeneration = static_cast<std::uint64_t>(row.runGeneration);
  record.runBootId = row.runBootId;
  if (row.startedBeforeMs) record.startedBefore = fromUnixMillis(*row.startedBeforeMs);
  record.failedGeneration = static_cast<std::uint64_t>(row.failedGeneration);
  record.execUser = row.execUser;
  record.execWorkingDir = row.execWorkingDir;
  if (!row.observation.empty()) {
    GS_TRY(record.observation, decodeObservation(row.observation));
  }
  record.ackedSequence = static_cast<std::uint64_t>(row.ackedSequence);
  readAdditions(row, record);
  return record;
}

Status quarantine(Database& db, const StoredRow& row) {
  GS_CHECK(db.execute("INSERT INTO sandbox_quarantine VALUES ($1, $2, $3, $4)",
                      {row.id, Blob{row.assignment}, Blob{row.observation}, toUnixMillis(SystemClock().wallNow())}));
  GS_CHECK(db.execute("DELETE FROM sandbox WHERE sandbox_id = $1", {row.id}));
  return {};
}

Status writeState(Database& db, const std::string& key, const std::string& value) {
  GS_CHECK(db.execute("INSERT INTO agent_state (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2",
                      {key, value}));
  return {};
}

std::string keyOf(std::string_view prefix, const SandboxId& id) { return std::string(prefix) + id.text(); }

Status writeAnswers(Database& db, std::string_view prefix, const std::vector<Journal::Release>& answers) {
  for (const auto& [id, generation] : answers) GS_CHECK(writeState(db, keyOf(prefix, id), fmt::format("{}", generation)));
  return {};
}

Status readAnswers(Database& db, std::string_view prefix, std::uint64_t FenceAnswers::*which, std::map<SandboxId, FenceAnswers>& out) {
  GS_CHECK(db.query("SELECT key, value FROM agent_state WHERE substr(key, 1, $1) = $2",
                    {static_cast<std::int64_t>(prefix.size()), std::string(prefix)}, [&](const Row& r) {
                      auto id = SandboxId::parse(r.text(0).substr(prefix.size()));
                      if (id) out[*id].*which = std::strtoull(r.text(1).c_str(), nullptr, 10);
                    }));
  return {};
}

}  // namespace

Task<Result<std::vector<SandboxRecord>>> Journal::load() {
  co_return co_await database_->transact([](Database& db) -> Result<std::vector<SandboxRecord>> {
    std::vector<StoredRow> rows;
    GS_CHECK(db.query(
        "SELECT sandbox_id, assignment, intent, run_generation, run_boot_id, started_before_ms, failed_generation,"
        " exec_user, exec_working_dir, observation, acked_sequence, checksum, additions, additions_checksum FROM sandbox ORDER BY sandbox_id",
        {}, [&](const Row& r) {
          StoredRow row;
          row.id = r.text(0);
          row.assignment = r.text(1);
          row.intent = r.text(2);
          row.runGeneration = r.integer(3);
          row.runBootId = r.text(4);
          row.startedBeforeMs = r.findInteger(5);
          row.failedGeneration = r.integer(6);
          row.execUser = r.text(7);
          row.execWorkingDir = r.text(8);
          row.observation = r.text(9);
          row.ackedSequence = r.integer(10);
          row.checksum = r.text(11);
          row.additions = r.text(12);
          row.additionsChecksum = r.text(13);
          rows.push_back(std::move(row));
        }));
    std::vector<SandboxRecord> records;
    for (const auto& row : rows) {
      auto record = toRecord(row);
      if (record) {
        records.push_back(std::move(*record));
        continue;
      }
      logError("journal_row_quarantined", {{"sandbox", row.id}, {"error", record.error().describe()}});
      GS_CHECK(quarantine(db, row));
    }
    return records;
  });
}

Task<Status> Journal::save(SandboxRecord record) {
  co_return co_await database_->run([row = toRow(record)](Database& db) -> Status {
    GS_CHECK(db.execute(
        "INSERT INTO sandbox (sandbox_id, assignment, intent, run_generation, run_boot_id, started_before_ms,"
        " failed_generation, exec_user, exec_working_dir, observation, acked_sequence, checksum,"
        " additions, additions_checksum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " ON CONFLICT (sandbox_id) DO UPDATE SET assignment = $2, intent = $3, run_generation = $4, run_boot_id = $5,"
        " started_before_ms = $6, failed_generation = $7, exec_user = $8, exec_working_dir = $9, observation = $10,"
        " acked_sequence = $11, checksum = $12, additions = $13, additions_checksum = $14",
        {row.id, Blob{row.assignment}, row.intent, row.runGeneration, row.runBootId,
         row.startedBeforeMs ? SqlValue(*row.startedBeforeMs) : SqlValue(), row.failedGeneration, row.execUser,
         row.execWorkingDir, Blob{row.observation}, row.ackedSequence, row.checksum, row.additions,
         row.additionsChecksum}));
    return {};
  });
}

Task<Status> Journal::forget(SandboxId id) {
  co_return co_await database_->transact([id](Database& db) -> Status {
    GS_CHECK(db.execute("DELETE FROM sandbox WHERE sandbox_id = $1", {id.text()}));
    for (const auto prefix : {kReleaseKeyPrefix, kRefusalKeyPrefix}) {
      GS_CHECK(db.execute("DELETE FROM agent_state WHERE key = $1", {keyOf(prefix, id)}));
    }
    return {};
  });
}

Task<Status> Journal::release(std::vector<Release> releases) {
  co_return co_await database_->transact([releases = std::move(releases)](Database& db) {
    return writeAnswers(db, kReleaseKeyPrefix, releases);
  });
}

Task<Status> Journal::refuse(std::vector<Release> refusals) {
  co_return co_await database_->transact([refusals = std::move(refusals)](Database& db) {
    return writeAnswers(db, kRefusalKeyPrefix, refusals);
  });
}

Task<Result<std::map<SandboxId, FenceAnswers>>> Journal::loadAnswers(std::vector<Release> wished) {
  using Answers = std::map<SandboxId, FenceAnswers>;
  co_return co_await database_->transact([wished = std::move(wished)](Database& db) -> Result<Answers> {
    GS_TRY(const auto begun, db.queryOne("SELECT value FROM agent_state WHERE key = $1", {std::string(kReleasesBegunKey)},
                                         [](const Row& r) { return r.text(0); }));
    if (!begun) {
      GS_CHECK(writeAnswers(db, kReleaseKeyPrefix, wished));
      GS_CHECK(writeState(db, std::string(kReleasesBegunKey), "1"));
    }
    Answers out;
    GS_CHECK(readAnswers(db, kReleaseKeyPrefix, &FenceAnswers::released, out));
    GS_CHECK(readAnswers(db, kRefusalKeyPrefix, &FenceAnswers::refused, out));
    return out;
  });
}

Task<Result<std::string>> Journal::readValue(std::string key) {
  co_return co_await database_->run([key](Database& db) -> Result<std::string> {
    GS_TRY(auto found, db.queryOne("SELECT value FROM agent_state WHERE key = $1", {key},
                                   [](const Row& r) { return r.text(0); }));
    return found.value_or(std::string());
  });
}

Task<Status> Journal::writeValue(std::string key, std::string value) {
  co_return co_await database_->run([key, value](Database& db) { return writeState(db, key, value); });
}

}  // namespace gs

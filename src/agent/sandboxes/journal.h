// The durable memory of the host's sandboxes: one row each, written before every effect (design §4, rule 1).
//
// A row carries a checksum of its own. A row that cannot be read is moved to sandbox_quarantine and logged, and the
// others are served: no data file stops a start (rule 5). Loop thread only; each save is one transaction with fsync.
//
// What newer versions know besides lies in the column "additions", a JSON object with a checksum of its own, which covers
// the row's as well. An older version neither reads nor writes it, so a row that such a one has changed is recognised by a
// checksum that does not fit, and its additions count as not known. A damaged addition is the same: a fact less, no row.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "agent/core/deletion_fence.h"
#include "async/task.h"
#include "db/database_thread.h"

namespace gs {

inline constexpr Migration kJournalMigrations[] = {
    {"journal_0001",
     "CREATE TABLE sandbox ("
     " sandbox_id TEXT PRIMARY KEY,"
     " assignment BLOB NOT NULL,"        // protobuf Assignment
     " intent TEXT NOT NULL,"            // effect begun, result unknown: none, create, start, stop, remove
     " run_generation BIGINT NOT NULL,"
     " run_boot_id TEXT NOT NULL,"
     " started_before_ms BIGINT,"
     " failed_generation BIGINT NOT NULL,"
     " exec_user TEXT NOT NULL,"
     " exec_working_dir TEXT NOT NULL,"
     " observation BLOB NOT NULL,"       // protobuf Observation; empty: none yet
     " acked_sequence BIGINT NOT NULL,"
     " checksum TEXT NOT NULL);"
     "CREATE TABLE sandbox_quarantine (sandbox_id TEXT NOT NULL, assignment BLOB, observation BLOB, quarantined_at_ms BIGINT NOT NULL);"
     "CREATE TABLE agent_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)"},
    {"journal_0002",
     "ALTER TABLE sandbox ADD COLUMN additions TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE sandbox ADD COLUMN additions_checksum TEXT NOT NULL DEFAULT ''",
     Tolerance::kAddsOnly}};

// In agent_state, which every version keeps: an agent from before the fence ignores them.
inline constexpr std::string_view kReleaseKeyPrefix = "destruction_released/";  // + sandbox id; value: generation
inline constexpr std::string_view kRefusalKeyPrefix = "destruction_refused/";  // likewise
inline constexpr std::string_view kReleasesBegunKey = "destruction_releases";

class Journal {
 public:
  explicit Journal(DatabaseThread& database) : database_(&database) {}

  // Every readable record, by id.
  [[nodiscard]] Task<Result<std::vector<SandboxRecord>>> load();
  // Inserts or replaces. Returns when it is on disk. kResourceExhausted: the disk is full and nothing changed.
  [[nodiscard]] Task<Status> save(SandboxRecord record);
  // With its release. Unknown: success.
  [[nodiscard]] Task<Status> forget(SandboxId id);

  // Destructions that go on: the sandbox and the generation of the destruction (core/deletion_fence.h). What is wished and
  // not released is held, so each is written before the assignment that asks for it. All or none; repeat: the same.
  using Release = std::pair<SandboxId, std::uint64_t>;
  [[nodiscard]] Task<Status> release(std::vector<Release> releases);
  // Destructions that a person refused, likewise. An older version reads them as held, which they are to it.
  [[nodiscard]] Task<Status> refuse(std::vector<Release> refusals);
  // To be asked once at the start, with the destructions in the journal. A journal from before there were releases has
  // them all released here.
  [[nodiscard]] Task<Result<std::map<SandboxId, FenceAnswers>>> loadAnswers(std::vector<Release> wished);

  // Small named values that must survive: the last link epoch. Absent: empty.
  [[nodiscard]] Task<Result<std::string>> readValue(std::string key);
  [[nodiscard]] Task<Status> writeValue(std::string key, std::string value);

 private:
  DatabaseThread* database_;
};

}  // namespace gs

#include "agent/daemon/agent_database.h"

#include <cstdio>

#include "agent/blueprints/blueprint_cache.h"
#include "agent/sandboxes/journal.h"
#include "base/clock.h"
#include "base/log.h"

namespace gs {
namespace {

Result<Database> openAndMigrate(const std::string& path) {
  GS_TRY(auto database, Database::open(path));
  std::vector<Migration> migrations(std::begin(kJournalMigrations), std::end(kJournalMigrations));
  migrations.insert(migrations.end(), std::begin(kBlueprintCacheMigrations), std::end(kBlueprintCacheMigrations));
  GS_CHECK(migrate(database, migrations));
  std::string verdict;
  GS_CHECK(database.query("PRAGMA quick_check(1)", {}, [&](const Row& row) { verdict = row.text(0); }));
  if (verdict != "ok") return fail(ErrorCode::kDataLoss, path + " is damaged: " + verdict);
  return database;
}

Status setAside(const std::string& path) {
  const auto suffix = fmt::format(".damaged-{}", toUnixMillis(SystemClock().wallNow()));
  // The log first: it belongs to this file and must not be replayed into the next one.
  for (const char* part : {"-wal", "-shm", ""}) {
    const std::string name = path + part;
    if (std::rename(name.c_str(), (name + suffix).c_str()) != 0 && errno != ENOENT) {
      return fail(errnoError(errno, "setting aside " + name));
    }
  }
  return {};
}

}  // namespace

Result<Database> openAgentDatabase(const AgentPaths& paths) {
  auto opened = openAndMigrate(paths.database());
  if (opened || opened.error().code != ErrorCode::kDataLoss) return opened;
  logError("journal_set_aside", {{"file", paths.database()}, {"error", opened.error().describe()}});
  GS_CHECK(setAside(paths.database()));
  return openAndMigrate(paths.database());
}

}  // namespace gs

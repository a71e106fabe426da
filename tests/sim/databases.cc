#include "databases.h"

namespace gs::sim {
namespace {

// Later tables refer to earlier ones, so they are emptied last to first. sqlite_sequence, too: rows are counted anew.
Result<std::vector<std::string>> tablesOf(Database& database) {
  std::vector<std::string> tables;
  GS_CHECK(database.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'schema_%' ORDER BY rowid DESC", {},
                          [&](const Row& row) { tables.push_back(row.text(0)); }));
  return tables;
}

Status empty(Database& database) {
  GS_TRY(const auto tables, tablesOf(database));
  GS_TRY(auto transaction, Transaction::begin(database));
  for (const auto& table : tables) GS_CHECK(database.execute("DELETE FROM " + table));
  return transaction.commit();
}

}  // namespace

std::shared_ptr<Database> DatabasePool::lend() {
  if (idle_.empty()) {
    auto made = std::make_unique<Database>(Database::openInMemory().value());
    [[maybe_unused]] const auto migrated = migrate(*made, migrations_);
    idle_.push_back(std::move(made));
  }
  auto database = std::move(idle_.back());
  idle_.pop_back();
  return {database.release(), [this](Database* used) { takeBack(std::unique_ptr<Database>(used)); }};
}

void DatabasePool::takeBack(std::unique_ptr<Database> database) {
  // One that cannot be emptied is not used again.
  if (empty(*database)) idle_.push_back(std::move(database));
}

}  // namespace gs::sim

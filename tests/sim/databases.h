// Databases for one world after another: schema and compiled statements stay, the rows go.
//
// Making a schema and compiling the product's statements took a quarter of a seed's time. A database that comes back is
// emptied of everything but the list of schema steps, so that nothing of one world is in the next.
#pragma once

#include <memory>
#include <vector>

#include "db/database.h"

namespace gs::sim {

class DatabasePool {
 public:
  explicit DatabasePool(std::vector<Migration> migrations) : migrations_(std::move(migrations)) {}

  // Migrated and empty. It comes back when its last holder lets go of it; the pool must be there then.
  [[nodiscard]] std::shared_ptr<Database> lend();

 private:
  void takeBack(std::unique_ptr<Database> database);

  std::vector<Migration> migrations_;
  std::vector<std::unique_ptr<Database>> idle_;
};

}  // namespace gs::sim

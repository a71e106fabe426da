// One database on one thread of its own: the loop hands over closures and awaits their results.
//
// run() calls are executed in the order in which they were made, so a writer never races another. Destruction waits for
// the work handed over so far. Restart: everything committed is there (WAL, synchronous=FULL).
#pragma once

#include <memory>

#include "async/blocking_pool.h"
#include "db/database.h"

namespace gs {

class DatabaseThread {
 public:
  explicit DatabaseThread(Database database) : database_(std::make_shared<Database>(std::move(database))), pool_(1) {}
  // On the loop, when the runner says (see BlockingPool). The runner outlives this; whoever else holds the database leaves
  // it alone meanwhile.
  DatabaseThread(std::shared_ptr<Database> database, WorkRunner& runner) : database_(std::move(database)), pool_(runner) {}

  // `work` is called with Database& on the thread and returns Result<T> or Status. It must own what it touches.
  template <class F>
  [[nodiscard]] auto run(F work) {
    return pool_.run([this, work = std::move(work)]() mutable { return work(*database_); });
  }
  // The same inside one transaction: committed when `work` returns a value, rolled back on an error.
  template <class F>
  [[nodiscard]] auto transact(F work) {
    return pool_.run([this, work = std::move(work)]() mutable -> std::invoke_result_t<F, Database&> {
      GS_TRY(auto transaction, Transaction::begin(*database_));
      auto result = work(*database_);
      if (!result) return result;
      GS_CHECK(transaction.commit());
      return result;
    });
  }

 private:
  std::shared_ptr<Database> database_;
  BlockingPool pool_;
};

}  // namespace gs

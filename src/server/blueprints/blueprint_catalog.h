// Blueprints as people ask for them: names and records around what the importer verified.
//
// Roles are checked by the caller. Loop thread only; store, importer and clock must outlive it.
#pragma once

#include <string>

#include "async/task_group.h"
#include "server/blueprints/blueprint_importer.h"
#include "server/store/store.h"

namespace gs {

class BlueprintCatalog {
 public:
  BlueprintCatalog(Executor executor, Store& store, BlueprintImporter& importer, const Clock& clock)
      : store_(store), importer_(importer), clock_(clock), tasks_(std::move(executor)) {}

  // Imports the body under that name. kAlreadyExists when it is taken, told before the body is read where possible;
  // else as BlueprintImporter::import. In every failure no record is made.
  [[nodiscard]] Task<Result<BlueprintRecord>> create(Actor actor, std::string name, BodyReader& body, Digest expected);
  [[nodiscard]] Task<Result<BlueprintRecord>> get(Actor actor, BlueprintId id);
  [[nodiscard]] Task<Result<Page<BlueprintRecord>>> list(Actor actor, PageRequest page);
  // kFailedPrecondition while sandboxes use it. Repeat: kNotFound. Unused blobs are swept afterwards.
  [[nodiscard]] Task<Status> remove(Actor actor, BlueprintId id);

  // Deletes blobs that no blueprint names any more. At start, and after each removal.
  void sweepSoon();
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> sweep();

  Store& store_;
  BlueprintImporter& importer_;
  const Clock& clock_;
  TaskGroup tasks_;
};

}  // namespace gs

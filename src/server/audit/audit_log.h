// The audit log as its tenant's admins read it: who did what to what, and when.
//
// Lines are written by the store in the transaction of the change itself, so there is none without its change and no
// change without its line. Roles are checked by the caller. Loop thread only; the store must outlive it.
#pragma once

#include "async/task.h"
#include "server/store/store.h"

namespace gs {

class AuditLog {
 public:
  explicit AuditLog(Store& store) : store_(store) {}

  // Newest first.
  [[nodiscard]] Task<Result<Page<AuditRecord>>> list(Actor actor, PageRequest page) {
    return store_.listAudit(std::move(actor.tenantId), std::move(page));
  }

 private:
  Store& store_;
};

}  // namespace gs

// Everything of the control plane that is on disk, and its first making.
//
//   <data dir>/             0700
//     server.db             the store, 0600 (and -wal, -shm)
//     server.lock           held by the process that serves
//     ca/ca.key  ca.crt     the built-in CA; the key 0600
//     blobs/sha256/<aa>/    immutable parts of blueprints
//     uploads/              imports under way; emptied at start
//
// Blocking; used before the loop runs. Restart: all of it but uploads/ survives.
#pragma once

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/secret.h"
#include "server/gateway/certificate_authority.h"
#include "server/store/store.h"

namespace gs {

class DataDirectory {
 public:
  // Calls of the store run on `loop`, which must outlive every store that was opened here: the thread of a database lets
  // go of the loop a moment after its caller has the answer.
  DataDirectory(asio::io_context& loop, std::string root) : loop_(loop), root_(std::move(root)) {}

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] std::string database() const { return root_ + "/server.db"; }
  [[nodiscard]] std::string authority() const { return root_ + "/ca"; }

  struct NewTenant {
    std::string name = "default";
    std::string admin = "admin";
  };
  struct Created {
    TenantId tenantId;
    SecretString apiKey;
  };
  // Makes directory, CA, database, the first tenant and its admin. kAlreadyExists (nothing is changed) when it has a
  // tenant already; one that was interrupted is finished by a repeat.
  [[nodiscard]] Result<Created> initialise(NewTenant tenant, const Clock& clock) const;
  // One more tenant, also while a server runs on it. kFailedPrecondition: not initialised. kAlreadyExists: the name.
  [[nodiscard]] Result<Created> createTenant(NewTenant tenant, const Clock& clock) const;
  // Opens the store of an initialised directory; kFailedPrecondition with the command to run when it is not.
  [[nodiscard]] Result<std::unique_ptr<Store>> openStore(const Clock& clock) const;
  // Takes the lock for the life of the process. kFailedPrecondition: another process serves it.
  [[nodiscard]] Status lock() const;

 private:
  [[nodiscard]] Result<Created> addTenant(Store& store, NewTenant tenant, const Clock& clock) const;
  [[nodiscard]] Result<std::int64_t> countTenants(Store& store) const;

  asio::io_context& loop_;
  std::string root_;
};

}  // namespace gs

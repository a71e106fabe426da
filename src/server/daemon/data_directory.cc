#include "server/daemon/data_directory.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "async/run_task.h"
#include "server/identity/identity_service.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

Status makeDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(errnoError(error.value(), "creating " + path));
  if (::chmod(path.c_str(), 0700) != 0) return fail(errnoError(errno, "protecting " + path));
  return {};
}

Error notInitialised(const DataDirectory& directory) {
  return makeError(ErrorCode::kFailedPrecondition, directory.root() + " is not initialised")
      .withFix("run `gstacks-server init --data-dir " + directory.root() + "` first");
}

Status ensureAuthority(const DataDirectory& directory, const Clock& clock) {
  // One that an interrupted init has left is good: keys are written whole or not at all.
  if (CertificateAuthority::load({directory.authority()}, clock)) return {};
  return CertificateAuthority::create(directory.authority(), clock);
}

}  // namespace

Result<DataDirectory::Created> DataDirectory::addTenant(Store& store, NewTenant tenant, const Clock& clock) const {
  IdentityService identity(store, clock, "");
  GS_TRY(auto created, runTask(loop_, identity.createTenant(std::move(tenant.name), std::move(tenant.admin))));
  return Created{created.record.tenantId, std::move(created.key)};
}

Result<std::int64_t> DataDirectory::countTenants(Store& store) const { return runTask(loop_, store.countTenants()); }

Result<DataDirectory::Created> DataDirectory::initialise(NewTenant tenant, const Clock& clock) const {
  const Error again = makeError(ErrorCode::kAlreadyExists, root_ + " is initialised already; nothing was changed")
                          .withFix("use `gstacks-server tenant create` for another tenant");
  if (fs::exists(database())) {
    GS_TRY(const auto store, Store::open(database(), &clock));
    GS_TRY(const auto tenants, countTenants(*store));
    if (tenants > 0) return fail(again);
  }
  GS_CHECK(makeDirectory(root_));
  GS_CHECK(ensureAuthority(*this, clock));
  GS_TRY(const auto store, Store::open(database(), &clock));
  return addTenant(*store, std::move(tenant), clock);
}

Result<DataDirectory::Created> DataDirectory::createTenant(NewTenant tenant, const Clock& clock) const {
  GS_TRY(const auto store, openStore(clock));
  return addTenant(*store, std::move(tenant), clock);
}

Result<std::unique_ptr<Store>> DataDirectory::openStore(const Clock& clock) const {
  // Looked for first: opening would create it, and an empty database must never pass for the real one.
  if (!fs::exists(database())) return fail(notInitialised(*this));
  GS_TRY(auto store, Store::open(database(), &clock));
  GS_TRY(const auto tenants, countTenants(*store));
  if (tenants == 0) return fail(notInitialised(*this));
  return store;
}

Status DataDirectory::lock() const {
  const std::string path = root_ + "/server.lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail(errnoError(errno, "opening " + path));
  // Never closed: the kernel lets go of it when the process ends, however that happens.
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
  ::close(fd);
  return fail(makeError(ErrorCode::kFailedPrecondition, "another gstacks-server serves " + root_)
                  .withFix("stop it first, or give this one its own --data-dir"));
}

}  // namespace gs

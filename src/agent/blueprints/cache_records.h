// The blueprint_cache table: which manifests this host has, so that a cached blueprint needs no server.
//
// Loop thread; the work is on the database's thread. A row that makes no sense is logged and treated as absent, which
// costs one question to the server; it is replaced when that succeeds.
#pragma once

#include <optional>
#include <vector>

#include "agent/blueprints/blueprint_cache.h"
#include "agent/blueprints/blueprint_manifest.h"
#include "db/database_thread.h"

namespace gs {

enum class CacheState : std::uint8_t { kDownloading, kReady, kDamaged };
[[nodiscard]] std::string_view cacheStateName(CacheState state);

class CacheRecords {
 public:
  CacheRecords(DatabaseThread& database, const Clock& clock) : database_(database), clock_(clock) {}

  // The manifest, checked against its digest. Nothing when there is no (usable) row.
  [[nodiscard]] Task<Result<std::optional<BlueprintManifest>>> findManifest(Digest manifest);
  // Inserts or replaces. kReady sets cached_at.
  [[nodiscard]] Task<Status> put(Digest digest, std::string manifest, std::uint64_t sizeBytes, CacheState state);
  // Unknown: success.
  [[nodiscard]] Task<Status> setState(Digest manifest, CacheState state);
  [[nodiscard]] Task<Status> touch(Digest manifest);
  // Deletes the row when its download has not ended well; a row in another state stays.
  [[nodiscard]] Task<Status> forgetUnfinished(Digest manifest);
  // The same for all rows: what a restart interrupted.
  [[nodiscard]] Task<Status> forgetAllUnfinished();
  [[nodiscard]] Task<Result<std::vector<CachedBlueprint>>> list();

 private:
  DatabaseThread& database_;
  const Clock& clock_;
};

}  // namespace gs

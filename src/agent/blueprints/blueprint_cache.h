// Makes the blueprint that an assignment names usable on this host: downloaded, verified, loaded into the runtime.
//
// It exists apart from runtimes so that a runtime never sees a network or a registry, and apart from the link so that
// verification does not depend on who delivered the bytes. It does NOT choose what to cache, evict, or pull: a blob
// comes from the BlobSource or is an error that names the fix.
//
// On disk: see blob_store.h. In the agent's database: blueprint_cache, one row a manifest (kBlueprintCacheMigrations).
// Restart: complete blobs and rows survive; a download starts again. Losing the rows loses no blob: the manifest is
// asked for again. Bytes are hashed whenever they are used, not only when they are written.
//
// Lifetime: owned by the daemon; the Parts outlive it. Threads: loop thread only; hashing, writing and fsync are on the
// pool. Limits: see BlueprintCacheSettings and blueprint_manifest.h; one blob a blueprint is under way at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "agent/blueprints/blob_files.h"
#include "agent/blueprints/blob_source.h"
#include "agent/runtimes/cache_handle.h"
#include "agent/runtimes/image_loader.h"
#include "async/blocking_pool.h"
#include "async/deadline.h"
#include "base/clock.h"
#include "base/digest.h"
#include "db/database_thread.h"

namespace gs {

// The cache's part of the agent's schema; the daemon puts it into the one list that it hands to migrate().
inline constexpr Migration kBlueprintCacheMigrations[] = {{
    "blueprint_cache_0001",
    "CREATE TABLE blueprint_cache ("
    " manifest_digest TEXT PRIMARY KEY,"
    " manifest TEXT NOT NULL,"            // the canonical bytes; checked against the key whenever read
    " state TEXT NOT NULL,"               // downloading, ready, damaged
    " size_bytes INTEGER NOT NULL,"       // of all its blobs
    " cached_at_ms INTEGER,"              // when it became ready
    " last_used_at_ms INTEGER NOT NULL)"  // to the minute
}};

struct BlueprintCacheSettings {
  std::filesystem::path directory;                          // <state dir>/cache
  std::uint64_t reserveBytes = 1ULL << 30;                  // what a download must leave free on that disk
  Millis stallTimeout{30'000};                              // a transfer that brings no byte for this long is given up
  std::string referencePrefix = "gstacks.local/blueprint";  // tests use their own
};

struct CachedBlueprint {
  Digest manifest;
  std::string state;
  std::uint64_t sizeBytes = 0;
  std::optional<WallTime> cachedAt;
  WallTime lastUsedAt{};
};

class BlueprintCache {
 public:
  struct Parts {
    Executor executor;
    BlobSource& source;
    ContainerImageLoader& loader;
    BlockingPool& pool;
    DatabaseThread& database;
    BlobFiles& files;
    const Clock& clock;
  };

  BlueprintCache(Parts parts, BlueprintCacheSettings settings);
  ~BlueprintCache();  // stop() must have been awaited
  BlueprintCache(const BlueprintCache&) = delete;
  BlueprintCache& operator=(const BlueprintCache&) = delete;

  // Runs once after a (re)start, before the first ensureLocal: makes the folders (0700), removes what an interrupted
  // download left in tmp/. A row that cannot be read is left alone and logged. kPermissionDenied, kResourceExhausted.
  [[nodiscard]] Task<Status> recover();

  // Makes the artifact local, verified and loaded, and checks in the runtime that it is. Repeat: cheap (one question to
  // the runtime). Concurrent calls for one digest share one download and its outcome; each waits no longer than its
  // own deadline. Cancel: the download goes on while another call waits for it, and ends otherwise.
  //   kNotFound           the control plane does not give this host that blueprint
  //   kDataLoss           bytes are not what their digest says: from the server (reason "blueprint_bytes_differ",
  //                       nothing kept) or on this disk (reason "blueprint_cache_damaged": quarantined, and the next
  //                       call downloads again)
  //   kInvalidArgument    the manifest or image config is not one that this version reads (reason "blueprint_invalid")
  //   kResourceExhausted  no room (reason "cache_disk_full": full, or "cache_disk_reserve": it would become so)
  //   kUnavailable        link, server or runtime do not answer, or a transfer stalled
  //   kDeadlineExceeded   this call's deadline; kCancelled: the cache was stopped
  [[nodiscard]] Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline deadline);

  // What the database says is cached, most recently used first.
  [[nodiscard]] Task<Result<std::vector<CachedBlueprint>>> list();

  // Ends downloads (their callers get kCancelled) and joins. Repeat is harmless.
  [[nodiscard]] Task<void> stop();

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace gs

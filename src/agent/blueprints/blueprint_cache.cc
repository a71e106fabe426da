#include "agent/blueprints/blueprint_cache.h"

#include <map>
#include <set>

#include "agent/blueprints/blob_download.h"
#include "agent/blueprints/blob_store.h"
#include "agent/blueprints/cache_records.h"
#include "agent/blueprints/image_archive_source.h"
#include "async/event.h"
#include "async/task_group.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kTouchEvery{60'000};

Error withReason(ErrorCode code, std::string reason, std::string message, std::string fix) {
  auto error = makeError(code, std::move(message));
  error.reason = std::move(reason);
  error.fix = std::move(fix);
  return error;
}

bool isRefusedCredential(const Error& error) {
  return error.code == ErrorCode::kUnauthenticated || error.code == ErrorCode::kPermissionDenied;
}

}  // namespace

class BlueprintCache::Core {
 public:
  Core(Parts parts, BlueprintCacheSettings settings)
      : parts_(std::move(parts)),
        settings_(std::move(settings)),
        store_(parts_.files, parts_.clock, settings_.directory),
        records_(parts_.database, parts_.clock),
        blobFreed_(parts_.executor),
        group_(parts_.executor) {}

  Task<Status> recover() {
    auto* const store = &store_;
    GS_CO_CHECK(co_await parts_.pool.run([store] { return store->recover(); }));
    noteRecord(co_await records_.forgetAllUnfinished());
    co_return Status{};
  }
  Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline deadline);
  Task<Result<std::vector<CachedBlueprint>>> list() { return records_.list(); }
  Task<void> stop() {
    stopping_ = true;
    co_await group_.cancelAndJoin();
  }

 private:
  // What was learned about a manifest since the start.
  struct Entry {
    BlueprintManifest manifest;
    ImageConfig image;
    SteadyTime touched;
  };

  // One making-local that any number of callers wait for.
  struct Flight final : DownloadOwner, std::enable_shared_from_this<Flight> {
    Flight(Core& c, Digest d) : core(c), digest(std::move(d)), done(c.parts_.executor) {}

    Status mayGoOn() override {
      if (latest.expired()) return fail(ErrorCode::kDeadlineExceeded, "the blueprint was not local in time");
      if (waiters > 0) return {};
      core.forget(*this);  // a caller that comes now must not join what is about to end
      return fail(ErrorCode::kCancelled, "nobody waits for the blueprint any more");
    }
    Deadline deadline() override { return latest; }
    void wrote(std::uint64_t bytes) override { unreserve(bytes); }
    void unreserve(std::uint64_t bytes) {
      bytes = std::min(bytes, reserved);
      reserved -= bytes;
      core.reserved_ -= bytes;
    }

    Core& core;
    Digest digest;
    Event done;
    std::optional<Result<CacheHandle>> outcome;
    Deadline latest = Deadline::after(Millis::zero());  // of all who wait
    int waiters = 0;
    std::optional<SecretString> credential;
    std::string manifestText;    // set when it came from the server in this flight
    std::uint64_t reserved = 0;  // bytes on the disk that this flight will still write
  };
  using FlightPtr = std::shared_ptr<Flight>;

  // Ends the flight however its task ends: also when it is cancelled, and when it never started.
  class FlightEnd {
   public:
    explicit FlightEnd(FlightPtr flight) : flight_(std::move(flight)) {}
    FlightEnd(FlightEnd&&) noexcept = default;
    FlightEnd& operator=(FlightEnd&&) = delete;
    ~FlightEnd() {
      if (!flight_) return;
      if (!flight_->outcome) {
        flight_->outcome = flight_->core.stopping_ ? fail(ErrorCode::kCancelled, "the blueprint cache was stopped")
                                                   : fail(ErrorCode::kInternal, "making the blueprint local broke off");
      }
      flight_->unreserve(flight_->reserved);
      flight_->core.forget(*flight_);
      flight_->done.notifyAll();
    }
    [[nodiscard]] const FlightPtr& flight() const { return flight_; }

   private:
    FlightPtr flight_;
  };

  class Waiting {
   public:
    explicit Waiting(FlightPtr flight) : flight_(std::move(flight)) { ++flight_->waiters; }
    ~Waiting() { --flight_->waiters; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    FlightPtr flight_;
  };

  // Two blueprints often share layers: each blob is written by one flight at a time.
  class BlobClaim {
   public:
    BlobClaim(Core& core, Digest blob) : core_(core), blob_(std::move(blob)) {}
    ~BlobClaim() {
      core_.busyBlobs_.erase(blob_);
      core_.blobFreed_.notifyAll();
    }
    BlobClaim(const BlobClaim&) = delete;
    BlobClaim& operator=(const BlobClaim&) = delete;

   private:
    Core& core_;
    Digest blob_;
  };

  static Task<void> fly(FlightEnd end);
  Task<Result<CacheHandle>> makeLocal(FlightPtr flight);
  Task<Result<BlueprintManifest>> findManifest(FlightPtr flight);
  Task<Status> renewGrant(FlightPtr flight);
  Task<Result<std::vector<BlobRef>>> findMissing(std::vector<BlobRef> blobs);
  Task<Status> reserve(FlightPtr flight, std::uint64_t bytes);
  Task<Status> fetch(FlightPtr flight, BlobRef blob);
  Task<Result<ImageConfig>> readConfig(FlightPtr flight, BlueprintManifest manifest);
  Task<Status> loadImage(FlightPtr flight, BlueprintManifest manifest);
  Task<void> quarantine(Digest manifest, Digest blob);
  Task<void> touch(Digest manifest, std::shared_ptr<Entry> entry);

  [[nodiscard]] std::string referenceOf(const Digest& manifest) const {
    return fmt::format("{}:{}", settings_.referencePrefix, manifest.hex());
  }
  [[nodiscard]] CacheHandle handleOf(const Digest& manifest, const Entry& entry) const {
    return {std::string(parts_.loader.runtimeName()), referenceOf(manifest), manifest, entry.manifest.config.digest,
            entry.image};
  }
  void forget(const Flight& flight) {
    const auto it = flights_.find(flight.digest);
    if (it != flights_.end() && it->second.get() == &flight) flights_.erase(it);
  }
  // The table only saves questions to the server, so failing to write it (a full disk) fails nothing else.
  static void noteRecord(const Status& written) {
    if (!written) logWarn("blueprint_record_failed", {{"error", written.error().describe()}});
  }

  Parts parts_;
  BlueprintCacheSettings settings_;
  BlobStore store_;
  CacheRecords records_;
  std::map<Digest, std::shared_ptr<Entry>> entries_;
  std::map<Digest, FlightPtr> flights_;
  std::set<Digest> busyBlobs_;
  Event blobFreed_;
  std::uint64_t reserved_ = 0;
  bool stopping_ = false;
  TaskGroup group_;
};

Task<Result<CacheHandle>> BlueprintCache::Core::ensureLocal(Digest manifest, Deadline deadline) {
  if (stopping_) co_return fail(ErrorCode::kCancelled, "the blueprint cache was stopped");
  auto& slot = flights_[manifest];
  const bool first = slot == nullptr;
  if (first) slot = std::make_shared<Flight>(*this, manifest);
  const auto flight = slot;
  const Waiting waiting(flight);
  if (deadline.time() > flight->latest.time()) flight->latest = deadline;
  if (first) group_.spawn("blueprint " + manifest.hex().substr(0, 12), fly(FlightEnd(flight)));
  // From here on only the flight is used: the cache may be gone when the outcome is there.
  while (!flight->outcome) {
    if (deadline.expired()) {
      co_return fail(withReason(ErrorCode::kDeadlineExceeded, "blueprint_slow", "the blueprint was not local in time",
                                "start the sandbox again: what was downloaded completely is kept"));
    }
    co_await flight->done.waitUntil(deadline);
  }
  co_return *flight->outcome;
}

Task<void> BlueprintCache::Core::fly(FlightEnd end) {
  const auto flight = end.flight();
  auto& core = flight->core;
  auto outcome = co_await core.makeLocal(flight);
  if (!outcome) {
    auto error = std::move(outcome.error());
    outcome = fail(std::move(error).context("making blueprint " + flight->digest.text() + " local"));
    if (!flight->manifestText.empty()) noteRecord(co_await core.records_.forgetUnfinished(flight->digest));
  }
  flight->outcome = std::move(outcome);
}

Task<Result<CacheHandle>> BlueprintCache::Core::makeLocal(FlightPtr flight) {
  const auto& digest = flight->digest;
  GS_CO_TRY(const auto manifest, co_await findManifest(flight));
  GS_CO_TRY(const auto found, co_await parts_.loader.findImage(referenceOf(digest), flight->latest));
  const bool loaded = found && *found == manifest.config.digest;
  if (const auto known = entries_.find(digest); known != entries_.end() && loaded) {
    const auto entry = known->second;
    co_await touch(digest, entry);
    co_return handleOf(digest, *entry);
  }
  // An image that the runtime has needs no blobs but its config, which says how the workload starts.
  const auto needed = loaded ? std::vector{manifest.config} : manifest.blobs();
  GS_CO_TRY(const auto missing, co_await findMissing(needed));
  if (!missing.empty()) {
    std::uint64_t bytes = 0;
    for (const auto& blob : missing) bytes += blob.sizeBytes;
    GS_CO_CHECK(co_await reserve(flight, bytes));
    if (flight->manifestText.empty()) GS_CO_CHECK(co_await renewGrant(flight));
    noteRecord(co_await records_.put(digest, flight->manifestText, manifest.totalBytes(), CacheState::kDownloading));
    // The config first: what it says may make the layers useless.
    if (missing.front() == manifest.config) GS_CO_CHECK(co_await fetch(flight, manifest.config));
  }
  GS_CO_TRY(auto image, co_await readConfig(flight, manifest));
  for (const auto& blob : missing) GS_CO_CHECK(co_await fetch(flight, blob));
  if (!loaded) GS_CO_CHECK(co_await loadImage(flight, manifest));
  if (!flight->manifestText.empty()) {
    noteRecord(co_await records_.put(digest, flight->manifestText, manifest.totalBytes(), CacheState::kReady));
  }
  auto entry = std::make_shared<Entry>(Entry{manifest, std::move(image), parts_.clock.steadyNow()});
  entries_[digest] = entry;
  logInfo("blueprint_local", {{"manifest", digest.text()}, {"downloaded", missing.size()}, {"loaded", !loaded}});
  co_return handleOf(digest, *entry);
}

Task<Result<BlueprintManifest>> BlueprintCache::Core::findManifest(FlightPtr flight) {
  if (const auto known = entries_.find(flight->digest); known != entries_.end()) co_return known->second->manifest;
  auto recorded = co_await records_.findManifest(flight->digest);
  if (recorded && *recorded) co_return std::move(**recorded);
  if (!recorded) noteRecord(fail(std::move(recorded.error())));
  GS_CO_CHECK(co_await renewGrant(flight));
  co_return parseBlueprintManifest(flight->manifestText, flight->digest);
}

Task<Status> BlueprintCache::Core::renewGrant(FlightPtr flight) {
  GS_CO_TRY(auto grant, co_await parts_.source.requestCredential(flight->digest, flight->latest));
  // Checked here again although the digest is known: an honest server sends the same bytes with every credential.
  GS_CO_TRY(const auto parsed, parseBlueprintManifest(grant.manifest, flight->digest));
  flight->manifestText = std::move(grant.manifest);
  flight->credential = std::move(grant.credential);
  co_return Status{};
}

Task<Result<std::vector<BlobRef>>> BlueprintCache::Core::findMissing(std::vector<BlobRef> blobs) {
  auto* const store = &store_;
  co_return co_await parts_.pool.run([store, blobs = std::move(blobs)]() -> Result<std::vector<BlobRef>> {
    std::vector<BlobRef> missing;
    for (const auto& blob : blobs) {
      GS_TRY(const bool there, store->has(blob));
      if (!there) missing.push_back(blob);
    }
    return missing;
  });
}

Task<Status> BlueprintCache::Core::reserve(FlightPtr flight, std::uint64_t bytes) {
  auto* const store = &store_;
  GS_CO_TRY(const auto free, co_await parts_.pool.run([store] { return store->freeBytes(); }));
  // Checked and taken without a suspension in between. Sums cannot overflow: a manifest is below 2^47 bytes.
  if (free < bytes + reserved_ + settings_.reserveBytes) {
    co_return fail(withReason(ErrorCode::kResourceExhausted, "cache_disk_reserve",
                              fmt::format("the blueprint needs {} bytes; {} are free and {} must stay so", bytes,
                                          free - std::min(free, reserved_), settings_.reserveBytes),
                              "free disk space on the host, then start the sandbox again"));
  }
  flight->reserved += bytes;
  reserved_ += bytes;
  co_return Status{};
}

Task<Status> BlueprintCache::Core::fetch(FlightPtr flight, BlobRef blob) {
  while (busyBlobs_.contains(blob.digest)) {
    GS_CO_CHECK(flight->mayGoOn());
    co_await blobFreed_.waitUntil(flight->latest);
  }
  busyBlobs_.insert(blob.digest);
  const BlobClaim claim(*this, blob.digest);
  GS_CO_TRY(const auto missing, co_await findMissing({blob}));
  if (missing.empty()) co_return Status{};  // another flight, or this one, has brought it meanwhile
  const BlobDownload download{parts_.source, store_, parts_.pool, *flight, settings_.stallTimeout};
  if (!flight->credential) GS_CO_CHECK(co_await renewGrant(flight));
  auto done = co_await downloadBlob(download, blob, *flight->credential);
  if (!done && isRefusedCredential(done.error())) {
    // It lives for minutes, a download may take longer. Once a blob: a fresh one that is refused is a real refusal.
    GS_CO_CHECK(co_await renewGrant(flight));
    done = co_await downloadBlob(download, blob, *flight->credential);
  }
  co_return done;
}

Task<Result<ImageConfig>> BlueprintCache::Core::readConfig(FlightPtr flight, BlueprintManifest manifest) {
  auto* const store = &store_;
  auto bytes = co_await parts_.pool.run([store, blob = manifest.config] { return store->read(blob); });
  if (!bytes) {
    if (bytes.error().code == ErrorCode::kDataLoss) co_await quarantine(flight->digest, manifest.config.digest);
    co_return std::unexpected(std::move(bytes.error()));
  }
  co_return parseImageConfig(*bytes, manifest);
}

Task<Status> BlueprintCache::Core::loadImage(FlightPtr flight, BlueprintManifest manifest) {
  GS_CO_CHECK(flight->mayGoOn());
  const auto reference = referenceOf(flight->digest);
  auto archive = std::make_shared<ArchiveOutcome>();
  auto loaded = co_await parts_.loader.load(
      std::make_unique<ImageArchiveSource>(store_, parts_.pool, manifest, reference, archive), flight->latest);
  if (archive->damaged) co_await quarantine(flight->digest, *archive->damaged);
  if (archive->error) co_return fail(*archive->error);
  GS_CO_CHECK(std::move(loaded));
  GS_CO_TRY(const auto found, co_await parts_.loader.findImage(reference, flight->latest));
  if (found && *found == manifest.config.digest) co_return Status{};
  co_return fail(withReason(ErrorCode::kDataLoss, "blueprint_image_differs",
                            fmt::format("the runtime has {} after loading, not {}", found ? found->text() : "no image",
                                        manifest.config.digest.text()),
                            "check that nothing else on the host uses the tag " + reference));
}

Task<void> BlueprintCache::Core::quarantine(Digest manifest, Digest blob) {
  auto* const store = &store_;
  const auto moved = co_await parts_.pool.run([store, blob] { return store->quarantine(blob); });
  logError("blueprint_blob_damaged", {{"blob", blob.text()},
                                      {"manifest", manifest.text()},
                                      {"quarantine", moved ? "moved" : moved.error().describe()}});
  noteRecord(co_await records_.setState(manifest, CacheState::kDamaged));
}

Task<void> BlueprintCache::Core::touch(Digest manifest, std::shared_ptr<Entry> entry) {
  const auto now = parts_.clock.steadyNow();
  if (now - entry->touched < kTouchEvery) co_return;
  entry->touched = now;
  noteRecord(co_await records_.touch(manifest));
}

BlueprintCache::BlueprintCache(Parts parts, BlueprintCacheSettings settings)
    : core_(std::make_unique<Core>(std::move(parts), std::move(settings))) {}
BlueprintCache::~BlueprintCache() = default;

Task<Status> BlueprintCache::recover() {
  return core_->recover();
}
Task<Result<CacheHandle>> BlueprintCache::ensureLocal(Digest manifest, Deadline deadline) {
  return core_->ensureLocal(std::move(manifest), deadline);
}
Task<Result<std::vector<CachedBlueprint>>> BlueprintCache::list() {
  return core_->list();
}
Task<void> BlueprintCache::stop() {
  return core_->stop();
}

}  // namespace gs

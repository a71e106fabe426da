// The cache's folder: which blobs are complete, how one becomes complete, and where a damaged one goes.
//
//   <cache>/blobs/<hex>             complete; its bytes had that SHA-256 when it was put there
//   <cache>/tmp/<hex>.<random>      being written, under a name of its own; emptied by recover()
//   <cache>/quarantine/<hex>.<ms>   bytes that changed on disk; for people, never read. One copy a blob
//
// A blob is complete or absent: written and hashed under a private name, fsync, rename, fsync of the folder.
// Threads: methods are for the pool (they block); a PendingBlob moves between threads but is used by one at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "agent/blueprints/blob_files.h"
#include "agent/blueprints/blueprint_manifest.h"
#include "base/clock.h"
#include "base/digest.h"

namespace gs {

// One download on its way to disk. Destroyed without commit(): nothing of it is left.
class PendingBlob {
 public:
  PendingBlob(BlobFiles& files, std::unique_ptr<BlobFile> file, BlobRef blob, std::filesystem::path temporary,
              std::filesystem::path place);
  ~PendingBlob();
  PendingBlob(const PendingBlob&) = delete;
  PendingBlob& operator=(const PendingBlob&) = delete;

  // kDataLoss as soon as there are more bytes than declared: never writes one of those.
  [[nodiscard]] Status write(std::string_view bytes);
  // kDataLoss when bytes are missing or have another digest. Once.
  [[nodiscard]] Status commit();
  // Removes what there is, unless committed. Repeat is harmless. The destructor does the same, but a pool's copy of the
  // pointer may put that off to a moment after the download was reported as failed.
  void discard();

 private:
  enum class Fate : std::uint8_t { kOpen, kCommitted, kDiscarded };

  BlobFiles& files_;
  std::unique_ptr<BlobFile> file_;
  BlobRef blob_;
  std::filesystem::path temporary_;
  std::filesystem::path place_;
  Hasher hasher_;
  std::uint64_t written_ = 0;
  Fate fate_ = Fate::kOpen;
};

class BlobStore {
 public:
  BlobStore(BlobFiles& files, const Clock& clock, std::filesystem::path folder);

  // Makes the folders and empties tmp/. Files that cannot be removed are logged and left.
  [[nodiscard]] Status recover();

  // Whether the blob is complete, by name and size. One of another size is quarantined, and is not there.
  [[nodiscard]] Result<bool> has(const BlobRef& blob);
  [[nodiscard]] Result<std::shared_ptr<PendingBlob>> begin(const BlobRef& blob);
  // kNotFound when absent. The reader gives whatever is on disk: hash it.
  [[nodiscard]] Result<std::unique_ptr<BlobReader>> open(const BlobRef& blob);
  // The whole of a small blob, verified. kDataLoss, reason "blueprint_cache_damaged": differs; not yet quarantined.
  [[nodiscard]] Result<std::string> read(const BlobRef& blob);
  // Moves it out of the way, in place of an earlier copy. Absent: success.
  [[nodiscard]] Status quarantine(const Digest& blob);

  [[nodiscard]] Result<std::uint64_t> freeBytes();

 private:
  [[nodiscard]] std::filesystem::path place(const Digest& blob) const;

  BlobFiles& files_;
  const Clock& clock_;
  std::filesystem::path folder_;
};

// kDataLoss, reason "blueprint_cache_damaged", with the fix.
[[nodiscard]] Error damagedBlob(const Digest& blob);
// kResourceExhausted gets the reason "cache_disk_full" and the fix; other errors pass unchanged.
[[nodiscard]] Error explainDisk(Error error);

}  // namespace gs

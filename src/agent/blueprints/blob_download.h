// Brings one blob from the source into the store: bounded by its declared size, its deadline and a stall time.
//
// Loop thread; writing and hashing are on the pool. Nothing is kept on any failure or cancellation.
#pragma once

#include <functional>

#include "agent/blueprints/blob_source.h"
#include "agent/blueprints/blob_store.h"
#include "async/blocking_pool.h"

namespace gs {

// What a download asks and tells its owner between two pieces.
class DownloadOwner {
 public:
  virtual ~DownloadOwner() = default;
  // An error ends the download with it: nobody waits for it any more, or its time is over.
  [[nodiscard]] virtual Status mayGoOn() = 0;
  [[nodiscard]] virtual Deadline deadline() = 0;  // may grow while the download runs
  virtual void wrote(std::uint64_t bytes) = 0;
};

struct BlobDownload {
  BlobSource& source;
  BlobStore& store;
  BlockingPool& pool;
  DownloadOwner& owner;
  Millis stallTimeout;
};

// kDataLoss "blueprint_bytes_differ": wrong, missing or surplus bytes. kUnavailable: the transfer broke, or brought
// nothing for the stall time (reason "download_stalled"). kResourceExhausted: the disk is full. Others: the source's
// own. The parts of `download` outlive the call.
[[nodiscard]] Task<Status> downloadBlob(BlobDownload download, BlobRef blob, SecretString credential);

}  // namespace gs

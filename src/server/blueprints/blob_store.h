// Immutable bytes under their digest: where blueprints' layers and configurations live.
//
// An interface, because one machine keeps them in files and a larger control plane in an object store; both only need
// "write under a private name, then publish under the digest". Nothing here knows what an image is.
// Every call blocks: pool threads only (see blob_body.h for the loop's side). Calls may run at the same time.
// Restart: what publish() returned success for is there; staged bytes are not, unless they were resumable.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"

namespace gs {

// Bytes on their way in, under a private name. Destroying it before it was published deletes them.
class StagedBlob {
 public:
  virtual ~StagedBlob() = default;
  // kResourceExhausted (reason disk_full) when the disk is full; the blob is then good for nothing but destruction.
  [[nodiscard]] virtual Status append(std::string_view bytes) = 0;
  // Of what was appended. digest() ends the writing: append() afterwards is kFailedPrecondition. Repeat: the same.
  [[nodiscard]] virtual Digest digest() = 0;
  [[nodiscard]] virtual std::uint64_t sizeBytes() const = 0;
  // Everything that was appended; kResourceExhausted when it is more than `limit`.
  [[nodiscard]] virtual Result<std::string> readAll(std::size_t limit) = 0;
};

// One open blob. Stays readable after a remove().
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  [[nodiscard]] virtual std::uint64_t sizeBytes() const = 0;
  // The next bytes, in order; 0 at the end. kDataLoss when the medium fails or the file is shorter than it was.
  [[nodiscard]] virtual Result<std::size_t> read(std::span<char> out) = 0;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<StagedBlob>> stage() = 0;
  // Bytes that come in several goes: what was appended under this name before is there already, also after a restart.
  // Destroying it keeps them; publish() and discardResumable() do not. One open StagedBlob a name. Reads what is there,
  // to go on with its digest. The name: letters, digits, '_', '-'. kInvalidArgument.
  [[nodiscard]] virtual Result<std::unique_ptr<StagedBlob>> resume(const std::string& name) = 0;
  // How many bytes resume() would find; 0 when there are none.
  [[nodiscard]] virtual Result<std::uint64_t> resumableBytes(const std::string& name) = 0;
  [[nodiscard]] virtual Status discardResumable(const std::string& name) = 0;  // unknown: success
  [[nodiscard]] virtual Result<std::vector<std::string>> resumables() = 0;
  [[nodiscard]] virtual Result<std::uint64_t> freeBytes() = 0;  // that may still be written
  // Makes the bytes durable and visible under their digest. Present already: the staged bytes are dropped, the blob
  // counts as new for removeUnused(), success. The StagedBlob is used up either way.
  [[nodiscard]] virtual Status publish(StagedBlob& blob) = 0;
  // kNotFound.
  [[nodiscard]] virtual Result<std::unique_ptr<BlobReader>> open(const Digest& digest) = 0;
  // Deletes blobs that are not in `live` (sorted) and were published before `olderThan`; says how many went. One that
  // cannot be deleted is logged and left for the next time.
  [[nodiscard]] virtual Result<std::size_t> removeUnused(const std::vector<Digest>& live, WallTime olderThan) = 0;
};

}  // namespace gs

// The `docker save` archive of a blueprint, made on the fly from cached blobs and hashed again while it flows.
//
// Layers go as they are, uncompressed, so that the engine runs no decompressor on them. A blob whose bytes changed on
// disk ends the archive before its last byte, so that the engine never has a whole image with wrong bytes.
// Loop thread; reading and hashing are on the pool. Memory: one piece of 256 KiB.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "agent/blueprints/blob_store.h"
#include "async/blocking_pool.h"
#include "net/http_message.h"

namespace gs {

// What the archive found out; outlives it, because the archive belongs to the request that carries it.
struct ArchiveOutcome {
  std::optional<Digest> damaged;  // not what its digest says, or shorter or longer than declared
  std::optional<Error> error;     // what ended the archive; the transport reports its own words for it
};

class ImageArchiveSource final : public BodySource {
 public:
  // `store` and `pool` outlive it.
  ImageArchiveSource(BlobStore& store, BlockingPool& pool, const BlueprintManifest& manifest,
                     std::string_view reference, std::shared_ptr<ArchiveOutcome> outcome);
  ~ImageArchiveSource() override;

  [[nodiscard]] Task<Result<std::string>> next() override;
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return total_; }

 private:
  struct Reading;  // the blob that is being read
  struct Part {
    std::string text;  // bytes to send; then, when set, the blob
    std::optional<BlobRef> blob;
  };

  void add(std::string text, std::optional<BlobRef> blob = {});

  BlobStore& store_;
  BlockingPool& pool_;
  std::shared_ptr<ArchiveOutcome> outcome_;
  std::deque<Part> parts_;
  std::shared_ptr<Reading> reading_;
  std::uint64_t total_ = 0;
};

}  // namespace gs

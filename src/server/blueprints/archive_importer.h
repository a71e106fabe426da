// BlueprintImporter over a BlobStore: the HTTP body flows through a bounded queue to a thread that takes it apart.
//
// Memory: 2 MiB of queue and a few buffers an import. At most `concurrentImports` run at once; further ones wait without
// reading their bodies. Everything that the thread touches it owns, so a cancelled import ends by itself.
#pragma once

#include "async/blocking_pool.h"
#include "base/clock.h"
#include "server/blueprints/blob_store.h"
#include "server/blueprints/blueprint_importer.h"

namespace gs {

struct ArchiveLimits {
  std::uint64_t bodyBytes = 32ULL << 30;      // as sent
  std::uint64_t unpackedBytes = 64ULL << 30;  // all entries, layers uncompressed
  std::size_t documentBytes = 4 << 20;        // each JSON document
  std::size_t entries = 10'000;
  std::size_t pathBytes = 4096;
  std::size_t layers = 127;
  // Decompression may give this many times what went in, once it has given `expansionFree` bytes.
  std::uint64_t expansion = 200;
  std::uint64_t expansionFree = 256ULL << 20;
};

struct ImporterSettings {
  ArchiveLimits limits;
  std::size_t concurrentImports = 4;
  Millis sweepAge = std::chrono::hours(1);
};

class ArchiveImporter final : public BlueprintImporter {
 public:
  ArchiveImporter(std::shared_ptr<BlobStore> store, const Clock& clock, ImporterSettings settings = {});

  [[nodiscard]] Task<Result<BlueprintRecord>> import(BodyReader& body, Digest expected) override;
  [[nodiscard]] Task<Status> sweep(std::vector<std::string> liveManifests) override;

 private:
  std::shared_ptr<BlobStore> store_;
  const Clock& clock_;
  ImporterSettings settings_;
  BlockingPool pool_;
};

}  // namespace gs

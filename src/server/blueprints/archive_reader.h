// Takes an uploaded archive apart as it flows: every regular entry is staged, hashed and, if it looks like a layer,
// decompressed and scanned on the way. What the entries mean is image_resolver's business.
//
// The outer archive is tar, plain or gzipped, read by libarchive; nothing else of libarchive is switched on. An entry's
// name is only a key here and never a path in the file system. Blocks: pool threads only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "server/blueprints/archive_importer.h"
#include "server/blueprints/byte_pipe.h"

namespace gs {

struct StagedEntry {
  std::unique_ptr<StagedBlob> blob;  // uncompressed
  Digest storedDigest;               // of the uncompressed bytes
  Digest sentDigest;                 // of the bytes as they are in the archive
  std::uint64_t sentBytes = 0;
  // Why it cannot be a layer; nothing when it can.
  std::optional<Error> layerProblem;
};

struct StagedArchive {
  // By name without "./" and doubled slashes. Docker writes a repeated layer as a link to the first: two names, one entry.
  std::map<std::string, std::shared_ptr<StagedEntry>, std::less<>> entries;
  Digest digest;  // of the body as sent
  std::uint64_t bodyBytes = 0;
};

// Errors as BlueprintImporter::import; the pipe's own error when the writer aborted. Reads the body to its end.
[[nodiscard]] Result<StagedArchive> readArchive(BytePipe& body, BlobStore& store, const ArchiveLimits& limits);

}  // namespace gs

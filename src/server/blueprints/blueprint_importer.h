// Turns an uploaded image archive into verified, immutable blobs and a manifest.
//
// Accepts an OCI image layout or a docker-save archive, as tar, optionally gzipped as a whole. Everything in it is
// hostile: sizes, counts and depth are bounded, digests are computed here, and nothing is published before all of it
// was verified. Layers are stored uncompressed under their diff_id. Restart: an interrupted import leaves only files in
// uploads/, which are removed at start.
#pragma once

#include <memory>
#include <string>

#include "async/task.h"
#include "net/http_message.h"
#include "server/core/records.h"

namespace gs {

class BlueprintImporter {
 public:
  virtual ~BlueprintImporter() = default;
  // Fills everything of the record but id, tenant, name, createdBy and createdAt. `expected` empty: not checked.
  // kInvalidArgument with a reason (archive_empty, archive_not_an_image, archive_unsafe_path, archive_unsafe_entry,
  // archive_truncated, unsupported_media_type, too_many_layers); kDataLoss (digest_mismatch) when bytes are not what a
  // digest says; kResourceExhausted when the disk is full or a limit is passed; kUnavailable when the client went away.
  // In every failure nothing is kept.
  [[nodiscard]] virtual Task<Result<BlueprintRecord>> import(BodyReader& body, Digest expected) = 0;
  // Deletes blobs that none of these manifests names and that are older than an hour.
  [[nodiscard]] virtual Task<Status> sweep(std::vector<std::string> liveManifests) = 0;
};

}  // namespace gs

// Finds the one image in a staged archive and checks that everything it names is there and is what it is said to be.
//
// Two forms: an OCI image layout (image-spec v1.1: oci-layout, index.json, one nested index) and docker-save
// (manifest.json). An archive that has both is read as OCI, which states more digests. Reads staged documents, so it
// blocks: pool threads only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/blueprints/archive_reader.h"
#include "server/blueprints/blueprint_manifest.h"

namespace gs {

struct ResolvedImage {
  BlueprintManifest manifest;
  std::string configText;
  std::shared_ptr<StagedEntry> config;
  std::vector<std::shared_ptr<StagedEntry>> layers;  // in the manifest's order
};

// kInvalidArgument (archive_not_an_image, archive_truncated, too_many_layers, unsupported_media_type, and what is wrong
// with a layer), kDataLoss (digest_mismatch), kResourceExhausted (limit_exceeded: a document is too large).
[[nodiscard]] Result<ResolvedImage> resolveImage(const StagedArchive& archive, const ArchiveLimits& limits);

}  // namespace gs

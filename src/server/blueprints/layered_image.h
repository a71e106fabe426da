// A version with one layer more: the manifest and image configuration of what a sandbox became.
//
// The configuration is the base's with the layer's diff_id added, everything else untouched, so that a sandbox made of it
// behaves as before; its digest is what the engine calls the image. Pure; any thread.
#pragma once

#include <string>

#include "server/blueprints/blueprint_manifest.h"

namespace gs {

struct LayeredImage {
  BlueprintManifest manifest;
  std::string imageConfig;
};

// kFailedPrecondition (reason too_many_layers): the base has as many as an engine can stack. kDataLoss: base manifest and
// configuration do not belong together, or cannot be read.
[[nodiscard]] Result<LayeredImage> addLayer(std::string_view baseManifest, std::string_view baseConfig, const BlobDescriptor& layer);

}  // namespace gs

// Both parsers on the same bytes, and on each other's result: no input may crash, hang or pass a limit.
#include "agent/blueprints/blueprint_manifest.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto manifest = gs::parseBlueprintManifest(bytes, gs::Digest::of(bytes));
  if (manifest) {
    if (manifest->layers.empty() || manifest->layers.size() > gs::kMaxLayers) std::abort();
    for (const auto& blob : manifest->blobs()) {
      if (blob.sizeBytes == 0 || blob.sizeBytes > gs::kMaxBlobBytes || blob.digest.hex().size() != 64) std::abort();
    }
    if (manifest->totalBytes() < manifest->config.sizeBytes) std::abort();
  }
  // Image configs: against a manifest with the one layer that the corpus names.
  gs::BlueprintManifest one;
  one.layers.push_back({gs::Digest::of("layer"), 1});
  if (const auto image = gs::parseImageConfig(bytes, one)) {
    for (const auto& entry : image->env) {
      if (entry.find('=') == std::string::npos || entry.contains('\0')) std::abort();
    }
  }
  return 0;
}

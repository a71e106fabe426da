// The manifest of a blueprint version: which blobs it is made of. Its canonical JSON's SHA-256 names the version.
//
// Canonical: keys sorted, no spaces, UTF-8, integers only, so that equal images have equal digests. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace gs {

struct BlobDescriptor {
  Digest digest;
  std::uint64_t sizeBytes = 0;
  friend bool operator==(const BlobDescriptor&, const BlobDescriptor&) = default;
};

struct BlueprintManifest {
  std::string architecture;  // "amd64" or "arm64"
  std::string os;            // "linux"
  BlobDescriptor config;     // the untouched image configuration
  std::vector<BlobDescriptor> layers;  // uncompressed tars under their diff_id, lowest first
  friend bool operator==(const BlueprintManifest&, const BlueprintManifest&) = default;

  [[nodiscard]] std::string canonical() const;
  // Configuration and layers, each once, sorted.
  [[nodiscard]] std::vector<Digest> blobs() const;
  [[nodiscard]] std::uint64_t sizeBytes() const;
};

// kInvalidArgument when it is no manifest of format version 1.
[[nodiscard]] Result<BlueprintManifest> parseBlueprintManifest(std::string_view json);

}  // namespace gs

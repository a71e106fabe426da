// Reading the two documents of a blueprint version: the manifest that names it, and the image config that it carries.
//
// Both come from outside. Strict and bounded: what this version does not know is refused, not skipped, because the
// digest of the manifest is the blueprint's name. Pure; any thread. Fuzzed (blueprint_manifest_fuzz.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/runtimes/cache_handle.h"
#include "base/digest.h"

namespace gs {

inline constexpr std::size_t kMaxManifestBytes = 128 * 1024;
inline constexpr std::size_t kMaxImageConfigBytes = 1024 * 1024;
inline constexpr std::size_t kMaxLayers = 127;  // what overlay2 can stack
inline constexpr std::uint64_t kMaxBlobBytes = 1ULL << 40;

struct BlobRef {
  Digest digest;
  std::uint64_t sizeBytes = 0;
  friend bool operator==(const BlobRef&, const BlobRef&) = default;
};

struct BlueprintManifest {
  std::string architecture;  // "amd64" or "arm64"
  std::string os;            // "linux"
  BlobRef config;
  std::vector<BlobRef> layers;  // lowest first, uncompressed; one digest may occur twice, with one size

  // Every blob once, the config first.
  [[nodiscard]] std::vector<BlobRef> blobs() const;
  [[nodiscard]] std::uint64_t totalBytes() const;  // of blobs()
};

// Checks that the bytes have the digest, that they are canonical, and that every field is within limits. kDataLoss when
// the digest differs; kInvalidArgument (reason "blueprint_invalid") naming the field otherwise.
[[nodiscard]] Result<BlueprintManifest> parseBlueprintManifest(std::string_view bytes, const Digest& expected);

// The part of an OCI image config that we use. Checks that its layers are the manifest's, in order, so that a config
// cannot claim another file system than the one that was verified.
[[nodiscard]] Result<ImageConfig> parseImageConfig(std::string_view bytes, const BlueprintManifest& manifest);

}  // namespace gs

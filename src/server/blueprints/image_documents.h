// The JSON documents of image archives as plain values: OCI image-spec v1.1 and docker-save. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace gs {

enum class ContentKind : std::uint8_t { kManifest, kIndex, kConfig, kLayer, kOther };

struct ContentDescriptor {
  ContentKind kind = ContentKind::kOther;
  std::string mediaType;
  Digest digest;
  std::uint64_t sizeBytes = 0;
  std::string os;            // of `platform`; empty when not said
  std::string architecture;
  bool attestation = false;  // says something about an image and is none
};

struct ImageManifestDocument {
  ContentDescriptor config;
  std::vector<ContentDescriptor> layers;
};
struct DockerSaveDocument {
  std::string configPath;
  std::vector<std::string> layerPaths;
};
struct ImageConfigDocument {
  std::string architecture;
  std::string os;
  std::vector<Digest> diffIds;
};

// All: kInvalidArgument with reason archive_not_an_image unless said otherwise.
[[nodiscard]] Result<std::vector<ContentDescriptor>> parseImageIndex(std::string_view text);
[[nodiscard]] Result<ImageManifestDocument> parseImageManifest(std::string_view text);
// One item an image.
[[nodiscard]] Result<std::vector<DockerSaveDocument>> parseDockerSave(std::string_view text);
// Also checks that what the HTTP contract shows of it (env, entrypoint, …) is within the contract's limits.
[[nodiscard]] Result<ImageConfigDocument> parseImageConfig(std::string_view text);

// The one image to take: the only one, or the only one for linux/amd64.
[[nodiscard]] Result<ContentDescriptor> chooseImage(const std::vector<ContentDescriptor>& found);

}  // namespace gs

// The frame of an archive in `docker save` form: tar headers (POSIX.1-1988 ustar) and the manifest.json that names its
// parts. The blobs between the headers are the caller's.
//
// Only what such an archive needs: regular files under short ASCII names, owned by root, no times. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace gs {

inline constexpr std::size_t kTarBlockBytes = 512;
inline constexpr std::size_t kTarEndBytes = 2 * kTarBlockBytes;  // two zero blocks end an archive

// The header block of one regular file. The name has at most 100 bytes (asserted: names here are made from digests). A
// size that does not fit into eleven octal digits (8 GiB) is written in base 256, as GNU tar and Go's archive/tar do.
[[nodiscard]] std::string tarHeader(std::string_view name, std::uint64_t sizeBytes, std::uint32_t mode = 0600);

// Zero bytes that follow a file of that size up to the next block.
[[nodiscard]] std::size_t tarPadding(std::uint64_t sizeBytes);

// Where the two kinds of blob stand in the archive.
[[nodiscard]] std::string archiveConfigName(const Digest& config);  // "<hex>.json"
[[nodiscard]] std::string archiveLayerName(const Digest& layer);    // "<hex>/layer.tar"

// The text of manifest.json: one image with one tag. Layers lowest first; a layer may occur twice.
[[nodiscard]] std::string archiveManifest(const Digest& config, std::string_view reference,
                                          const std::vector<Digest>& layers);

}  // namespace gs

// Image archives for tests, written by hand so that every lie can be told: a tar writer and the two image forms.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace gs::testing {

struct TarEntry {
  std::string name;
  std::string content{};
  char kind = '0';
  std::string link{};
};

// One ustar entry, header and padded content.
std::string tarEntry(const TarEntry& entry);
// With the end mark.
std::string tarOf(const std::vector<TarEntry>& entries);
std::string gzipOf(std::string_view bytes);
// An extended header ('x') with these records before an entry.
std::string paxHeader(const std::vector<std::pair<std::string, std::string>>& records);

struct ImageLayer {
  std::string sent;    // as in the archive
  std::string plain;   // uncompressed
  std::string mediaType = "application/vnd.oci.image.layer.v1.tar";
};
ImageLayer plainLayer(std::string tar);
ImageLayer gzipLayer(std::string tar);

struct ImageParts {
  std::string config;
  std::vector<ImageLayer> layers;
  std::string manifest;
  std::string index;
};

std::string imageConfig(const std::vector<std::string>& diffIds, std::string_view architecture = "amd64", std::string_view os = "linux");
std::string descriptor(std::string_view mediaType, std::string_view content, std::string_view more = "");
ImageParts imageOf(std::vector<ImageLayer> layers, std::string_view architecture = "amd64");
inline std::string blobName(std::string_view content) { return "blobs/sha256/" + Digest::of(content).hex(); }

std::vector<TarEntry> ociEntries(const ImageParts& image);
std::vector<TarEntry> dockerSaveEntries(const ImageParts& image);

}  // namespace gs::testing

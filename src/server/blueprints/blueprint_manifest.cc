#include "server/blueprints/blueprint_manifest.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {
namespace {

constexpr std::int64_t kFormatVersion = 1;

Json toJson(const BlobDescriptor& blob) { return {{"digest", blob.digest.text()}, {"sizeBytes", blob.sizeBytes}}; }

Result<BlobDescriptor> fromJson(const Json& json) {
  GS_TRY(const auto digest, getString(json, "digest"));
  GS_TRY(const auto size, getInteger(json, "sizeBytes"));
  if (size < 0) return fail(ErrorCode::kInvalidArgument, "a blob's sizeBytes is negative");
  BlobDescriptor out;
  GS_TRY(out.digest, Digest::parse(digest));
  out.sizeBytes = static_cast<std::uint64_t>(size);
  return out;
}

}  // namespace

std::string BlueprintManifest::canonical() const {
  Json list = Json::array();
  for (const auto& layer : layers) list.push_back(toJson(layer));
  return canonicalJson({{"architecture", architecture},
                        {"config", toJson(config)},
                        {"formatVersion", kFormatVersion},
                        {"layers", std::move(list)},
                        {"os", os}});
}

std::vector<Digest> BlueprintManifest::blobs() const {
  std::vector<Digest> out{config.digest};
  for (const auto& layer : layers) out.push_back(layer.digest);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::uint64_t BlueprintManifest::sizeBytes() const {
  std::uint64_t total = config.sizeBytes;
  for (const auto& layer : layers) total += layer.sizeBytes;
  return total;
}

Result<BlueprintManifest> parseBlueprintManifest(std::string_view json) {
  GS_TRY(const Json root, parseJson(json));
  GS_TRY(const auto version, getInteger(root, "formatVersion"));
  if (version != kFormatVersion) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("manifest format version {} is not known", version));
  }
  BlueprintManifest out;
  GS_TRY(out.architecture, getString(root, "architecture"));
  GS_TRY(out.os, getString(root, "os"));
  if (!root.contains("config")) return fail(ErrorCode::kInvalidArgument, "the manifest has no config");
  GS_TRY(out.config, fromJson(root["config"]));
  if (!root.contains("layers") || !root["layers"].is_array()) {
    return fail(ErrorCode::kInvalidArgument, "the manifest has no list of layers");
  }
  for (const auto& layer : root["layers"]) {
    GS_TRY(auto blob, fromJson(layer));
    out.layers.push_back(std::move(blob));
  }
  return out;
}

}  // namespace gs

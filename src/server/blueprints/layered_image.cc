#include "server/blueprints/layered_image.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {
namespace {

constexpr std::size_t kMaxLayers = 127;  // what overlay2 can stack

Error damaged(std::string_view what) { return makeError(ErrorCode::kDataLoss, fmt::format("the base version cannot be extended: {}", what)); }

}  // namespace

Result<LayeredImage> addLayer(std::string_view baseManifest, std::string_view baseConfig, const BlobDescriptor& layer) {
  auto manifest = parseBlueprintManifest(baseManifest);
  if (!manifest) return fail(damaged(manifest.error().message));
  if (manifest->layers.size() >= kMaxLayers) {
    return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("the sandbox is made of {} layers already", manifest->layers.size()))
                    .withReason("too_many_layers")
                    .withFix("reprovision it, or copy what is worth keeping into a new one"));
  }
  auto config = parseJson(baseConfig);
  if (!config || !config->is_object()) return fail(damaged("its configuration is no object"));
  const auto root = config->find("rootfs");
  if (root == config->end() || !root->is_object() || !root->contains("diff_ids") || !(*root)["diff_ids"].is_array() ||
      (*root)["diff_ids"].size() != manifest->layers.size()) {
    return fail(damaged("its configuration does not name its layers"));
  }
  (*root)["diff_ids"].push_back(layer.digest.text());
  if (const auto history = config->find("history"); history != config->end() && history->is_array()) {
    history->push_back({{"created_by", "gstacks archive"}});
  }
  LayeredImage out;
  out.imageConfig = canonicalJson(*config);
  out.manifest = std::move(*manifest);
  out.manifest.layers.push_back(layer);
  out.manifest.config = {Digest::of(out.imageConfig), out.imageConfig.size()};
  return out;
}

}  // namespace gs

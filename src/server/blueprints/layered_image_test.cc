#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "server/blueprints/layered_image.h"

namespace gs {
namespace {

std::string configWith(std::size_t layers, bool history = true) {
  Json ids = Json::array(), past = Json::array();
  for (std::size_t i = 0; i < layers; ++i) {
    ids.push_back(Digest::of(fmt::format("layer {}", i)).text());
    past.push_back({{"created_by", "base"}});
  }
  Json out{{"architecture", "amd64"}, {"config", {{"User", "65534"}}}, {"os", "linux"}, {"rootfs", {{"type", "layers"}, {"diff_ids", ids}}}};
  if (history) out["history"] = past;
  return out.dump(2);
}

std::string manifestWith(std::size_t layers, const std::string& config) {
  BlueprintManifest m{"amd64", "linux", {Digest::of(config), config.size()}, {}};
  for (std::size_t i = 0; i < layers; ++i) m.layers.push_back({Digest::of(fmt::format("layer {}", i)), i + 1});
  return m.canonical();
}

const BlobDescriptor kLayer{Digest::of("mine"), 1024};

TEST(AddLayer, TheEngineWillSeeTheBaseAndOneLayerMore) {
  const auto config = configWith(2);
  const auto image = addLayer(manifestWith(2, config), config, kLayer).value();
  EXPECT_EQ(image.manifest.layers.size(), 3U);
  EXPECT_EQ(image.manifest.layers.back(), kLayer);
  EXPECT_EQ(image.manifest.config.digest, Digest::of(image.imageConfig));
  EXPECT_EQ(image.manifest.config.sizeBytes, image.imageConfig.size());
  const auto made = parseJson(image.imageConfig).value();
  EXPECT_EQ(made["rootfs"]["diff_ids"].size(), 3U);
  EXPECT_EQ(made["rootfs"]["diff_ids"].back(), kLayer.digest.text());
  EXPECT_EQ(made["history"].size(), 3U);
  EXPECT_EQ(made["config"]["User"], "65534") << "the rest is as it was";
  // And once more on top of that.
  const auto again = addLayer(image.manifest.canonical(), image.imageConfig, {Digest::of("second"), 1}).value();
  EXPECT_EQ(again.manifest.layers.size(), 4U);
}

TEST(AddLayer, RefusesWhatCannotBeExtended) {
  const auto config = configWith(2);
  EXPECT_EQ(addLayer(manifestWith(3, config), config, kLayer).error().code, ErrorCode::kDataLoss) << "they are of two versions";
  EXPECT_EQ(addLayer("{}", config, kLayer).error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(addLayer(manifestWith(2, config), "[]", kLayer).error().code, ErrorCode::kDataLoss);
  const auto full = configWith(127, false);
  EXPECT_EQ(addLayer(manifestWith(127, full), full, kLayer).error().reason, "too_many_layers");
}

}  // namespace
}  // namespace gs

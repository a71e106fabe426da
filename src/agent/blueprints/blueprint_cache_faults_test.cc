// What a server, a disk and a runtime may do wrong, and what is left behind: nothing.
#include "agent/blueprints/blueprint_cache.h"

#include <gtest/gtest.h>

#include "agent/blueprints/test_support.h"

namespace gs::test {
namespace {

class BlueprintCacheFaults : public CacheTest {
 protected:
  BlueprintCacheFaults() {
    blueprint_ = makeBlueprint({std::string(5000, 'a'), std::string(3000, 'b')});
    source_.serve(blueprint_);
    layer_ = blueprint_.layers[1];
  }
  // A byte of a complete blob changes on the disk.
  void damage(const Digest& blob) {
    auto bytes = readFile(blobPath(blob));
    ASSERT_FALSE(bytes.empty());
    bytes[bytes.size() / 2] ^= 1;
    writeFile(blobPath(blob), bytes);
  }
  [[nodiscard]] std::string stateOf() {
    const auto listed = run(cache_->list());
    return listed && !listed->empty() ? listed->front().state : "none";
  }

  Blueprint blueprint_;
  Digest layer_;
};

TEST_F(BlueprintCacheFaults, KeepsNothingOfALie) {
  struct Lie {
    const char* why;
    std::function<void()> tell;
    ErrorCode code;
    const char* reason;
  };
  auto& layer = source_.blobs[layer_];
  const auto honest = layer;
  const std::vector<Lie> table{
      {"wrong bytes", [&] { layer[7] ^= 1; }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"short", [&] { layer.pop_back(); }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"nothing at all", [&] { layer.clear(); }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"long", [&] { layer += "x"; }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"very long", [&] { layer += std::string(1 << 20, 'x'); }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"announces more", [&] { source_.announce[layer_] = 3001; }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"announces less", [&] { source_.announce[layer_] = 2999; }, ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"no such blob", [&] { source_.blobs.erase(layer_); }, ErrorCode::kNotFound, ""},
      {"another manifest", [&] { source_.manifests[blueprint_.digest] = makeBlueprint({"other"}).manifest; },
       ErrorCode::kDataLoss, "blueprint_bytes_differ"},
      {"an oversize manifest", [&] { source_.manifests[blueprint_.digest] = std::string(kMaxManifestBytes + 1, ' '); },
       ErrorCode::kInvalidArgument, "blueprint_invalid"},
      {"no manifest", [&] { source_.manifests[blueprint_.digest].clear(); }, ErrorCode::kDataLoss,
       "blueprint_bytes_differ"},
      {"not for this host", [&] { source_.manifests.clear(); }, ErrorCode::kNotFound, ""},
      {"offline", [&] { source_.offline = true; }, ErrorCode::kUnavailable, ""},
  };
  for (const auto& lie : table) {
    lie.tell();
    const auto refused = ensure(blueprint_.digest);
    ASSERT_FALSE(refused) << lie.why;
    EXPECT_EQ(refused.error().code, lie.code) << lie.why << ": " << refused.error().describe();
    EXPECT_EQ(refused.error().reason, lie.reason) << lie.why;
    EXPECT_FALSE(fs::exists(blobPath(layer_))) << lie.why;
    EXPECT_EQ(loader_.loads, 0) << lie.why;
    EXPECT_EQ(*source_.alive, 0) << lie.why;
    EXPECT_EQ(stateOf(), "none") << lie.why;
    expectNothingHalfKept();
    source_.announce.clear();
    source_.offline = false;
    source_.serve(blueprint_);
  }
  EXPECT_TRUE(ensure(blueprint_.digest)) << "an honest server is believed again";
}

TEST_F(BlueprintCacheFaults, RefusesAManifestThatIsNotWellFormed) {
  for (const std::string text : {"{", "[]", R"({"formatVersion":1})"}) {
    source_.manifests[Digest::of(text)] = text;
    EXPECT_EQ(ensure(Digest::of(text)).error().reason, "blueprint_invalid") << text;
  }
}

TEST_F(BlueprintCacheFaults, RefusesAConfigThatNamesOtherLayers) {
  auto other = makeBlueprint({std::string(5000, 'a')});
  const auto config = other.blobs.at(other.config);
  const auto manifest =
      fmt::format(R"({{"architecture":"amd64","config":{},"formatVersion":1,"layers":[{}],"os":"linux"}})",
                  blobText(config), blobText("other layer"));
  source_.manifests[Digest::of(manifest)] = manifest;
  source_.blobs[Digest::of(config)] = config;
  source_.blobs[Digest::of("other layer")] = "other layer";
  EXPECT_EQ(ensure(Digest::of(manifest)).error().reason, "blueprint_invalid");
  EXPECT_FALSE(source_.opened.contains(Digest::of("other layer"))) << "not downloaded in vain";
}

TEST_F(BlueprintCacheFaults, AsksForAnotherCredentialOnce) {
  source_.refuse = [](const SecretString& credential) { return credential.reveal() == "credential-1"; };
  ASSERT_TRUE(ensure(blueprint_.digest));
  EXPECT_EQ(source_.grants, 2);

  const auto other = makeBlueprint({"other"});
  source_.serve(other);
  source_.grants = 0;
  source_.refuse = [](const SecretString&) { return true; };
  EXPECT_EQ(ensure(other.digest).error().code, ErrorCode::kUnauthenticated);
  EXPECT_EQ(source_.grants, 2);
  expectNothingHalfKept();
}

TEST_F(BlueprintCacheFaults, AFullDiskAtAnyWriteLeavesNothingHalf) {
  int failures = 0;
  for (int n = 1; n < 100; ++n) {
    files_.failAt = n;
    const auto refused = ensure(blueprint_.digest);
    if (refused) break;  // fewer writes than that
    ++failures;
    EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted) << n << ": " << refused.error().describe();
    EXPECT_EQ(refused.error().reason, "cache_disk_full") << n;
    EXPECT_FALSE(refused.error().fix.empty());
    EXPECT_EQ(stateOf(), "none");
    expectNothingHalfKept();
    end();
    fs::remove_all(settings_.directory);
    restart();
  }
  EXPECT_GE(failures, 3 * 3) << "three blobs with a write, an fsync and a rename each";
  EXPECT_EQ(loader_.loads, 1);
}

TEST_F(BlueprintCacheFaults, RefusesToEatTheDiskReserve) {
  settings_.reserveBytes = 1000;
  restart();
  const auto total = 8000 + blueprint_.blobs.at(blueprint_.config).size();
  files_.free = total + 999;
  const auto refused = ensure(blueprint_.digest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(refused.error().reason, "cache_disk_reserve");
  EXPECT_EQ(filesIn("blobs"), 0u);
  EXPECT_TRUE(source_.opened.empty());
  files_.free = total + 1000;
  EXPECT_TRUE(ensure(blueprint_.digest));
  files_.free = 0;
  EXPECT_TRUE(ensure(blueprint_.digest)) << "what is cached needs no room";
}

TEST_F(BlueprintCacheFaults, PutsADamagedLayerIntoQuarantine) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  damage(layer_);
  loader_.images.clear();
  const auto refused = ensure(blueprint_.digest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(refused.error().reason, "blueprint_cache_damaged");
  EXPECT_TRUE(refused.error().fix.contains("start the sandbox again")) << refused.error().fix;
  EXPECT_TRUE(loader_.images.empty()) << "the runtime never had the whole of it";
  EXPECT_FALSE(fs::exists(blobPath(layer_)));
  EXPECT_EQ(filesIn("quarantine"), 1u);
  EXPECT_EQ(stateOf(), "damaged");

  ASSERT_TRUE(ensure(blueprint_.digest));
  EXPECT_EQ(source_.opened.at(layer_), 2);
  EXPECT_EQ(source_.opened.at(blueprint_.layers[0]), 1);
  EXPECT_EQ(stateOf(), "ready");

  damage(layer_);
  loader_.images.clear();
  clock_.advance(Millis(5));
  EXPECT_FALSE(ensure(blueprint_.digest));
  EXPECT_EQ(filesIn("quarantine"), 1u) << "one copy a blob";
}

TEST_F(BlueprintCacheFaults, ReplacesABlobOfTheWrongSizeAtOnce) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  fs::resize_file(blobPath(layer_), 100);
  loader_.images.clear();
  ASSERT_TRUE(ensure(blueprint_.digest)) << "seen before the load, so there is nothing to fail for";
  EXPECT_EQ(filesIn("quarantine"), 1u);
  expectNothingHalfKept();
}

TEST_F(BlueprintCacheFaults, NoticesADamagedConfigAfterARestart) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  damage(blueprint_.config);
  restart();
  EXPECT_EQ(ensure(blueprint_.digest).error().reason, "blueprint_cache_damaged");
  EXPECT_EQ(filesIn("quarantine"), 1u);
  ASSERT_TRUE(ensure(blueprint_.digest));
}

TEST_F(BlueprintCacheFaults, NeverFollowsALinkInItsFolder) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  loader_.images.clear();
  fs::remove(blobPath(layer_));
  const auto elsewhere = folder_ / "elsewhere";
  writeFile(elsewhere, source_.blobs[layer_]);
  fs::create_symlink(elsewhere, blobPath(layer_));
  EXPECT_FALSE(ensure(blueprint_.digest));
}

TEST_F(BlueprintCacheFaults, DoesNotBelieveTheRuntimeEither) {
  loader_.lie = Digest::of("another image");
  const auto refused = ensure(blueprint_.digest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "blueprint_image_differs");
}

}  // namespace
}  // namespace gs::test

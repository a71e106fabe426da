#include "agent/blueprints/blueprint_manifest.h"

#include <gtest/gtest.h>

#include "agent/blueprints/test_support.h"

namespace gs {
namespace {

using test::blobText;
using test::makeBlueprint;

TEST(BlueprintManifest, ReadsTheCanonicalForm) {
  const auto blueprint = makeBlueprint({"one", "two", "one"});
  const auto manifest = parseBlueprintManifest(blueprint.manifest, blueprint.digest);
  ASSERT_TRUE(manifest) << manifest.error().describe();
  EXPECT_EQ(manifest->architecture, "amd64");
  EXPECT_EQ(manifest->config.digest, blueprint.config);
  ASSERT_EQ(manifest->layers.size(), 3u);
  EXPECT_EQ(manifest->layers[2].digest, Digest::of("one"));
  EXPECT_EQ(manifest->blobs().size(), 3u) << "one layer occurs twice";
  EXPECT_EQ(manifest->totalBytes(), blueprint.blobs.at(blueprint.config).size() + 6);
}

TEST(BlueprintManifest, RefusesOtherBytesThanItsDigestNames) {
  const auto blueprint = makeBlueprint({"one"});
  const auto refused = parseBlueprintManifest(blueprint.manifest, Digest::of("another"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(refused.error().reason, "blueprint_bytes_differ");
}

// A manifest with the given parts; "" takes the usual one.
std::string manifestText(const std::string& layers, const std::string& config = "",
                         const std::string& head = R"("architecture":"amd64")", const std::string& version = "1",
                         const std::string& tail = R"("os":"linux")") {
  return fmt::format(R"({{{},"config":{},"formatVersion":{},"layers":{},{}}})", head,
                     config.empty() ? blobText("config") : config, version, layers, tail);
}

TEST(BlueprintManifest, RefusesWhatItDoesNotKnow) {
  const auto one = "[" + blobText("a") + "]";
  std::string tooMany = "[";
  for (std::size_t i = 0; i <= kMaxLayers; ++i) tooMany += (i == 0 ? "" : ",") + blobText(std::to_string(i));
  tooMany += "]";
  const auto hex = Digest::of("a").hex();
  struct Lie {
    const char* why;
    std::string text;
  };
  const std::vector<Lie> table{
      {"no JSON", "layers: none"},
      {"empty", ""},
      {"another kind of value", "[]"},
      {"no object", "null"},
      {"not canonical: a space", "{ " + manifestText(one).substr(1)},
      {"not canonical: keys unsorted", R"({"os":"linux","architecture":"amd64"})"},
      {"a key twice", R"({"architecture":"amd64","architecture":"amd64"})"},
      {"an unknown field", manifestText(one, "", R"("annotations":{},"architecture":"amd64")")},
      {"a later format", manifestText(one, "", R"("architecture":"amd64")", "2")},
      {"a format that is no number", manifestText(one, "", R"("architecture":"amd64")", "\"1\"")},
      {"another architecture", manifestText(one, "", R"("architecture":"m68k")")},
      {"another system", manifestText(one, "", R"("architecture":"amd64")", "1", R"("os":"windows")")},
      {"no layers", manifestText("[]")},
      {"layers of another kind", manifestText("{}")},
      {"too many layers", manifestText(tooMany)},
      {"a layer that is no object", manifestText("[1]")},
      {"a layer without size", manifestText(R"([{"digest":"sha256:)" + hex + R"("}])")},
      {"an empty layer", manifestText(R"([{"digest":"sha256:)" + hex + R"(","sizeBytes":0}])")},
      {"a negative size", manifestText(R"([{"digest":"sha256:)" + hex + R"(","sizeBytes":-1}])")},
      {"a fraction", manifestText(R"([{"digest":"sha256:)" + hex + R"(","sizeBytes":1.5}])")},
      {"a size past the limit", manifestText(R"([{"digest":"sha256:)" + hex + R"(","sizeBytes":1099511627777}])")},
      {"a size past 64 bits", manifestText(R"([{"digest":"sha256:)" + hex + R"(","sizeBytes":18446744073709551616}])")},
      {"another algorithm", manifestText(R"([{"digest":"sha512:)" + hex + R"(","sizeBytes":1}])")},
      {"a path for a digest", manifestText(R"([{"digest":"sha256:../../etc/passwd","sizeBytes":1}])")},
      {"upper case", manifestText(R"([{"digest":"sha256:)" + std::string(64, 'A') + R"(","sizeBytes":1}])")},
      {"one blob with two sizes",
       manifestText("[" + blobText("a") + R"(,{"digest":"sha256:)" + hex + R"(","sizeBytes":2}])")},
      {"a config past its limit", manifestText(one, R"({"digest":"sha256:)" + hex + R"(","sizeBytes":1048577})")},
      {"deeply nested", std::string(100, '[') + std::string(100, ']')},
      {"past the size limit", "{" + std::string(kMaxManifestBytes, ' ') + "}"},
  };
  ASSERT_TRUE(parseBlueprintManifest(manifestText(one), Digest::of(manifestText(one))))
      << "the base of the table is good";
  for (const auto& lie : table) {
    const auto refused = parseBlueprintManifest(lie.text, Digest::of(lie.text));
    ASSERT_FALSE(refused) << lie.why;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument) << lie.why;
    EXPECT_EQ(refused.error().reason, "blueprint_invalid") << lie.why;
  }
}

TEST(ImageConfig, ReadsHowAWorkloadStarts) {
  const auto blueprint = makeBlueprint(
      {"one"},
      R"("Cmd":["-c","x"],"Entrypoint":["/bin/sh"],"Env":["A=1","B="],"User":"app:app","WorkingDir":"/srv","ExposedPorts":{"80/tcp":{}})");
  const auto manifest = parseBlueprintManifest(blueprint.manifest, blueprint.digest);
  const auto image = parseImageConfig(blueprint.blobs.at(blueprint.config), *manifest);
  ASSERT_TRUE(image) << image.error().describe();
  EXPECT_EQ(*image, (ImageConfig{{"A=1", "B="}, "/srv", "app:app", {"/bin/sh"}, {"-c", "x"}}));
}

TEST(ImageConfig, RefusesLies) {
  const auto blueprint = makeBlueprint({"one", "two"});
  const auto manifest = parseBlueprintManifest(blueprint.manifest, blueprint.digest);
  const auto one = Digest::of("one").text(), two = Digest::of("two").text();
  const auto with = [&](const std::string& image, const std::string& ids) {
    return fmt::format(R"({{"config":{},"rootfs":{{"diff_ids":[{}]}}}})", image, ids);
  };
  const auto ids = fmt::format(R"("{}","{}")", one, two);
  ASSERT_TRUE(parseImageConfig(with("null", ids), *manifest)) << "no config at all is possible";
  const std::vector<std::pair<const char*, std::string>> table{
      {"no JSON", "x"},
      {"no object", "[]"},
      {"no rootfs", "{}"},
      {"other layers", with("{}", fmt::format(R"("{}","{}")", one, one))},
      {"layers in another order", with("{}", fmt::format(R"("{}","{}")", two, one))},
      {"fewer layers", with("{}", fmt::format(R"("{}")", one))},
      {"more layers", with("{}", ids + fmt::format(R"(,"{}")", one))},
      {"Env without a name", with(R"({"Env":["=x"]})", ids)},
      {"Env that is no assignment", with(R"({"Env":["x"]})", ids)},
      {"Env that is empty", with(R"({"Env":[""]})", ids)},
      {"Env of another kind", with(R"({"Env":{"A":"1"}})", ids)},
      {"NUL in Env", with(R"({"Env":["A=\u0000"]})", ids)},
      {"NUL in User", with(R"({"User":"a\u0000b"})", ids)},
      {"Cmd of another kind", with(R"({"Cmd":"sh -c x"})", ids)},
      {"User of another kind", with(R"({"User":0})", ids)},
      {"a config of another kind", with("[]", ids)},
  };
  for (const auto& [why, text] : table) {
    const auto refused = parseImageConfig(text, *manifest);
    ASSERT_FALSE(refused) << why;
    EXPECT_EQ(refused.error().reason, "blueprint_invalid") << why;
  }
}

}  // namespace
}  // namespace gs

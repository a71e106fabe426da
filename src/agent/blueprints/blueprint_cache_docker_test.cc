// The cache with the real engine behind it, and a container from what it loaded.
#include "agent/blueprints/blueprint_cache.h"

#include <gtest/gtest.h>

#include "agent/blueprints/test_support.h"
#include "agent/runtimes/docker/container_config.h"
#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/runtimes/docker/require_docker.h"
#include "agent/runtimes/docker/test_image.h"

namespace gs::test {
namespace {

class BlueprintCacheDocker : public CacheTest {
 protected:
  BlueprintCacheDocker() {
    settings_.referencePrefix = "gstacks.local/test-" + randomIdChars(8);
    useDocker_ = true;
    restart();
  }
  void SetUp() override {
    GS_REQUIRE_DOCKER();
    const auto mark = randomIdChars(12);
    const auto image = makeTestImage(mark);
    const auto text = [](const Digest& digest, std::size_t size) {
      return fmt::format(R"({{"digest":"{}","sizeBytes":{}}})", digest.text(), size);
    };
    blueprint_.manifest =
        fmt::format(R"({{"architecture":"amd64","config":{},"formatVersion":1,"layers":[{}],"os":"linux"}})",
                    text(image.configDigest, image.config.size()), text(image.layerDigest, image.layer.size()));
    blueprint_.digest = Digest::of(blueprint_.manifest);
    blueprint_.config = image.configDigest;
    blueprint_.layers = {image.layerDigest};
    blueprint_.blobs = {{image.configDigest, image.config}, {image.layerDigest, image.layer}};
    source_.serve(blueprint_);
    source_.pieceBytes = 64 * 1024;
  }
  void TearDown() override {
    if (!blueprint_.digest.empty()) {
      EXPECT_TRUE(run(docker_.removeImage(referenceOf(blueprint_.digest), soon())));
    }
  }
  ContainerImageLoader& loader() override {
    return useDocker_ ? static_cast<ContainerImageLoader&>(docker_) : static_cast<ContainerImageLoader&>(loader_);
  }

  DockerRuntime docker_{loop_.get_executor(), {kTestDockerSocket, {"/bin/busybox", "sh", "-c", "exit 42"}}};
  bool useDocker_ = false;
  Blueprint blueprint_;
};

TEST_F(BlueprintCacheDocker, LoadsWhatAContainerStartsFrom) {
  const auto handle = ensure(blueprint_.digest);
  ASSERT_TRUE(handle) << handle.error().describe();
  EXPECT_EQ(handle->image.user, "65534");
  EXPECT_EQ(**run(docker_.findImage(handle->reference, soon())), blueprint_.config);

  ContainerPlan plan;
  plan.sandboxId = SandboxId::make();
  plan.hostId = HostId::make();
  plan.generation = 1;
  plan.spec.name = "cache-test";
  plan.image = *handle;
  plan.mounts = {"/bin/busybox", folder_.string()};
  ASSERT_TRUE(run(docker_.create(plan, soon())));
  const auto started = run(docker_.start(plan.sandboxId, soon()));
  EXPECT_TRUE(started) << started.error().describe();
  DockerEngine engine(loop_.get_executor(), kTestDockerSocket);
  EXPECT_TRUE(run(engine.waitUntilEnded(containerName(plan.sandboxId), soon())));
  const auto seen = run(docker_.inspect(plan.sandboxId, soon()));
  EXPECT_TRUE(seen && *seen && (*seen)->exitCode == 42);
  EXPECT_TRUE(run(docker_.remove(plan.sandboxId, soon())));
}

TEST_F(BlueprintCacheDocker, LoadsAgainAfterAnImageWasRemoved) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  source_.offline = true;
  ASSERT_TRUE(run(docker_.removeImage(referenceOf(blueprint_.digest), soon())));
  const auto again = ensure(blueprint_.digest);
  ASSERT_TRUE(again) << again.error().describe();
  restart();
  ASSERT_TRUE(ensure(blueprint_.digest)) << "and after a restart";
}

TEST_F(BlueprintCacheDocker, GivesDockerNoImageWithDamagedBytes) {
  ASSERT_TRUE(ensure(blueprint_.digest));
  ASSERT_TRUE(run(docker_.removeImage(referenceOf(blueprint_.digest), soon())));
  auto bytes = readFile(blobPath(blueprint_.layers[0]));
  bytes[bytes.size() - 2000] ^= 1;
  writeFile(blobPath(blueprint_.layers[0]), bytes);
  const auto refused = ensure(blueprint_.digest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "blueprint_cache_damaged") << refused.error().describe();
  EXPECT_FALSE(run(docker_.findImage(referenceOf(blueprint_.digest), soon()))->has_value());
  ASSERT_TRUE(ensure(blueprint_.digest));
}

TEST_F(BlueprintCacheDocker, AnAbsentEngineIsUnavailable) {
  DockerRuntime absent(loop_.get_executor(), {"/tmp/gs-no-such-docker.sock", {"/x"}});
  BlueprintCache cache({loop_.get_executor(), source_, absent, pool_, *database_, files_, clock_}, settings_);
  const auto refused = run(cache.ensureLocal(blueprint_.digest, soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(refused.error().reason, "docker_unreachable");
  run(cache.stop());
}

TEST(NoPull, NoSourceAsksARegistry) {
  // Written in two halves, so that this file does not find itself.
  const std::vector<std::string> forbidden{std::string("images") + "/create", std::string("from") + "Image="};
  for (const auto& entry : fs::recursive_directory_iterator(GS_SOURCE_DIR "/src")) {
    const auto extension = entry.path().extension();
    if (extension != ".cc" && extension != ".h") continue;
    const auto text = readFile(entry.path());
    for (const auto& phrase : forbidden) EXPECT_FALSE(text.contains(phrase)) << entry.path() << " has " << phrase;
  }
}

}  // namespace
}  // namespace gs::test

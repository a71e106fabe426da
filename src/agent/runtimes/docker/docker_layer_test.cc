// Taking what a container changed, against the real engine. Every container and image is this test's own, and is removed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/runtimes/docker/require_docker.h"
#include "agent/runtimes/docker/test_image.h"
#include "agent/runtimes/tar_walker.h"
#include "async/run_task.h"
#include "base/encoding.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

Deadline soon() { return Deadline::after(Millis(60'000)); }

struct Collecting final : LayerSink {
  std::string bytes;
  std::size_t most = 0;
  std::optional<Error> failure;
  Task<Status> write(std::string piece) override {
    if (failure) co_return fail(*failure);
    most = std::max(most, piece.size());
    bytes += piece;
    co_return Status();
  }
};

struct Listing final : TarWalker::Visitor {
  std::map<std::string, std::uint64_t> sizes;
  Status begin(const TarEntry& entry, std::string_view) override {
    sizes[entry.path] = entry.sizeBytes;
    return {};
  }
  Status content(std::string_view) override { return {}; }
  Status end(std::string_view) override { return {}; }
};

class DockerLayer : public testing::Test {
 protected:
  void SetUp() override {
    GS_REQUIRE_DOCKER();
    docker_ = std::make_unique<DockerRuntime>(loop_.get_executor(), DockerSettings{kTestDockerSocket,
                                                                                  {"/bin/busybox", "sh", "-c",
                                                                                   "/bin/busybox dd if=/dev/zero of=/wrote bs=1M count=2;"
                                                                                   "/bin/busybox rm /etc/mark; /bin/busybox sleep 600"}});
    folder_ = fmt::format("/tmp/gs-layer-{}", randomIdChars(8));
    fs::create_directories(folder_ / "run");
    std::ofstream(folder_ / "guest") << "stand-in";
    const auto mark = randomIdChars(12);
    const auto image = makeTestImage(mark);
    reference_ = "gstacks.local/test:" + mark;
    ASSERT_TRUE(run(docker_->load(std::make_unique<StringSource>(image.archive(reference_)), soon())));
    plan_.sandboxId = id_;
    plan_.hostId = HostId::make();
    plan_.generation = 3;
    plan_.spec.name = "layer-test";
    plan_.spec.resources = {500, 64ULL << 20, 100};
    plan_.image = {"docker", reference_, Digest::of("m"), image.configDigest, {}};
    plan_.mounts = {folder_ / "guest", folder_ / "run"};
    ASSERT_TRUE(run(docker_->create(plan_, soon())));
  }
  void TearDown() override {
    if (!docker_ || reference_.empty()) return;
    EXPECT_TRUE(run(docker_->remove(id_, soon())));
    EXPECT_TRUE(run(docker_->dropLayers(id_, soon())));
    EXPECT_TRUE(run(docker_->removeImage(reference_, soon())));
    fs::remove_all(folder_);
  }
  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }
  void liveALittle() {
    ASSERT_TRUE(run(docker_->start(id_, soon())));
    for (int i = 0; i < 200; ++i) {
      const auto measure = run(docker_->measureLayer(id_, soon()));
      ASSERT_TRUE(measure);
      if (measure->changedBytes >= 2 << 20) break;
    }
    EXPECT_EQ(run(docker_->takeLayer(id_, 3, sink_, soon())).error().reason, "container_running");
    ASSERT_TRUE(run(docker_->stop(id_, Millis(0), soon())));
  }

  asio::io_context loop_;
  std::unique_ptr<DockerRuntime> docker_;
  std::string reference_;
  fs::path folder_;
  ContainerPlan plan_;
  Collecting sink_;
  const SandboxId id_ = SandboxId::make();
};

TEST_F(DockerLayer, GivesWhatWasChangedAndNothingOfTheImage) {
  liveALittle();
  const auto measure = run(docker_->measureLayer(id_, soon())).value();
  EXPECT_GE(measure.changedBytes, 2U << 20);
  EXPECT_GT(measure.scratchBytes, measure.changedBytes);
  EXPECT_FALSE(measure.scratchFolder.empty());
  const auto taken = run(docker_->takeLayer(id_, 3, sink_, soon()));
  ASSERT_TRUE(taken) << taken.error().describe();
  Listing listing;
  TarWalker walker(listing);
  ASSERT_TRUE(walker.feed(sink_.bytes));
  ASSERT_TRUE(walker.finish());
  EXPECT_EQ(listing.sizes.at("wrote"), 2U << 20);
  EXPECT_TRUE(listing.sizes.contains("etc/.wh.mark"));
  EXPECT_FALSE(listing.sizes.contains("bin/busybox"));
  EXPECT_LE(sink_.most, 256U * 1024) << "piece by piece";
  Collecting again;
  ASSERT_TRUE(run(docker_->takeLayer(id_, 3, again, soon())));
  EXPECT_EQ(Digest::of(again.bytes), Digest::of(sink_.bytes)) << "a repeat gives the same bytes";
}

TEST_F(DockerLayer, LeavesOneThingForAGenerationUntilItIsDropped) {
  liveALittle();
  ASSERT_TRUE(run(docker_->takeLayer(id_, 3, sink_, soon())));
  ASSERT_TRUE(run(docker_->takeLayer(id_, 3, sink_, soon())));
  ASSERT_TRUE(run(docker_->takeLayer(id_, 4, sink_, soon())));
  const auto left = run(docker_->layerLeftovers(plan_.hostId, soon())).value();
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].sandboxId, id_);
  EXPECT_TRUE(run(docker_->layerLeftovers(HostId::make(), soon()))->empty()) << "each host sees its own";
  ASSERT_TRUE(run(docker_->dropLayers(SandboxId::make(), soon())));
  EXPECT_EQ(run(docker_->layerLeftovers(plan_.hostId, soon()))->size(), 2U);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(docker_->dropLayers(id_, soon())));
  EXPECT_TRUE(run(docker_->layerLeftovers(plan_.hostId, soon()))->empty());
  EXPECT_TRUE(run(docker_->findImage(reference_, soon()))->has_value()) << "its image is not touched";
}

TEST_F(DockerLayer, TheSinksErrorEndsIt) {
  liveALittle();
  sink_.failure = makeError(ErrorCode::kResourceExhausted, "full");
  EXPECT_EQ(run(docker_->takeLayer(id_, 3, sink_, soon())).error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(run(docker_->takeLayer(SandboxId::make(), 3, sink_, soon())).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(run(docker_->measureLayer(SandboxId::make(), soon())).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gs

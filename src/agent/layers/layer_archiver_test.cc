#include <gtest/gtest.h>

#include <filesystem>

#include "agent/layers/layer_archiver.h"
#include "agent/runtimes/image_archive.h"
#include "async/run_task.h"
#include "base/encoding.h"

namespace gs {
namespace {

std::string layerOf(std::string_view name, std::string_view content) {
  return tarHeader(name, content.size()) + std::string(content) + std::string(tarPadding(content.size()), '\0') +
         std::string(kTarEndBytes, '\0');
}

// Gives one layer, in small pieces.
class GivingRuntime final : public Runtime {
 public:
  std::string layer = layerOf("file", std::string(5000, 'x'));
  std::optional<Error> failure;
  std::uint64_t changedBytes = 1 << 20;
  bool there = true;
  int takes = 0;
  int drops = 0;
  std::string scratch;

  std::string_view name() const override { return "docker"; }
  Task<RuntimeReport> health(Deadline) override { co_return RuntimeReport(); }
  Task<Status> create(ContainerPlan, Deadline) override { co_return Status(); }
  Task<Status> start(SandboxId, Deadline) override { co_return Status(); }
  Task<Status> stop(SandboxId, Millis, Deadline) override { co_return Status(); }
  Task<Status> remove(SandboxId, Deadline) override { co_return Status(); }
  Result<std::string> instance() const override { return std::string("one"); }
  Task<Result<std::optional<RuntimeContainer>>> inspect(SandboxId, Deadline) override { co_return std::optional<RuntimeContainer>(); }
  Task<Result<std::vector<RuntimeContainer>>> list(HostId, Deadline) override { co_return std::vector<RuntimeContainer>(); }
  Task<Result<std::unique_ptr<RuntimeWatch>>> watch(HostId, Deadline) override { co_return fail(ErrorCode::kUnimplemented, ""); }
  Task<Result<LayerMeasure>> measureLayer(SandboxId, Deadline) override {
    if (!there) co_return fail(ErrorCode::kNotFound, "no container");
    co_return LayerMeasure{changedBytes, 2 * changedBytes, scratch};
  }
  Task<Status> takeLayer(SandboxId, std::uint64_t, LayerSink& sink, Deadline) override {
    if (!there) co_return fail(ErrorCode::kNotFound, "no container");
    ++takes;
    for (std::size_t at = 0; at < layer.size(); at += 700) {
      GS_CO_CHECK(co_await sink.write(layer.substr(at, 700)));
      if (failure && at > 2000) co_return fail(*failure);
    }
    co_return Status();
  }
  Task<Status> dropLayers(SandboxId, Deadline) override {
    ++drops;
    co_return Status();
  }
};

// A control plane that takes `room` bytes a go.
class TakingUploader final : public LayerUploader {
 public:
  std::string bytes;
  std::size_t room = 1 << 20;
  std::vector<std::uint64_t> offsets;
  Task<Result<UploadState>> ask(LayerOffer offer, Deadline) override { co_return stateOf(offer); }
  Task<Result<UploadState>> send(LayerOffer offer, std::uint64_t offset, std::unique_ptr<BodySource> rest, Deadline) override {
    offsets.push_back(offset);
    EXPECT_EQ(rest->sizeBytes(), offer.sizeBytes - offset);
    for (auto left = room; left > 0;) {
      GS_CO_TRY(const auto piece, co_await rest->next());
      if (piece.empty()) break;
      const auto part = piece.substr(0, left);
      bytes += part;
      left -= part.size();
      if (part.size() < piece.size()) co_return fail(ErrorCode::kUnavailable, "the connection broke");
    }
    co_return stateOf(offer);
  }

 private:
  UploadState stateOf(const LayerOffer& offer) const {
    return {bytes.size(), bytes.size() == offer.sizeBytes && Digest::of(bytes) == offer.digest};
  }
};

class LayerArchiverTest : public ::testing::Test {
 protected:
  LayerArchiverTest() {
    std::filesystem::create_directories(folder_);
    runtime_.scratch = folder_;
    EXPECT_TRUE(archiver_.recover());
  }
  ~LayerArchiverTest() override { std::filesystem::remove_all(folder_); }

  Status take(std::uint64_t generation = 1) { return runTask(loop_, archiver_.take(id_, generation, Deadline::after(Millis(10'000)))); }
  Status send(std::uint64_t generation = 1) { return runTask(loop_, archiver_.send(id_, generation, Deadline::after(Millis(10'000)))); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
  }

  const std::string folder_ = std::filesystem::temp_directory_path() / ("gs-layers-" + randomIdChars(10));
  asio::io_context loop_;
  BlockingPool pool_{1};
  std::unique_ptr<BlobFiles> files_ = makeDiskFiles();
  GivingRuntime runtime_;
  TakingUploader uploader_;
  const SandboxId id_ = SandboxId::make();
  LayerArchiver archiver_{{loop_.get_executor(), runtime_, uploader_, pool_, *files_}, folder_, 1 << 20};
};

TEST_F(LayerArchiverTest, TakesOnceAndSendsFromWhereItBroke) {
  EXPECT_EQ(send().error().code, ErrorCode::kNotFound) << "nothing was taken yet";
  ASSERT_TRUE(take());
  ASSERT_TRUE(take());
  EXPECT_EQ(runtime_.takes, 1) << "what is spooled is not taken again";
  EXPECT_EQ(runtime_.drops, 2);
  uploader_.room = 3000;
  EXPECT_EQ(send().error().code, ErrorCode::kUnavailable);
  uploader_.room = 1 << 20;
  ASSERT_TRUE(send());
  EXPECT_EQ(uploader_.offsets, (std::vector<std::uint64_t>{0, 3000}));
  EXPECT_EQ(uploader_.bytes, runtime_.layer);
  ASSERT_TRUE(send()) << "a repeat finds it there";
  EXPECT_EQ(uploader_.offsets.size(), 2U);
  ASSERT_TRUE(runTask(loop_, archiver_.discard(id_, Deadline::after(Millis(1000)))));
  EXPECT_EQ(files(), 0U);
}

TEST_F(LayerArchiverTest, KeepsNothingOfATakingThatFailed) {
  runtime_.failure = makeError(ErrorCode::kUnavailable, "the engine went away");
  EXPECT_EQ(take().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(files(), 0U);
  runtime_.failure.reset();
  runtime_.layer.resize(runtime_.layer.size() - kTarEndBytes);
  EXPECT_EQ(take().error().code, ErrorCode::kDataLoss) << "half a layer is no layer";
  EXPECT_EQ(files(), 0U);
}

TEST_F(LayerArchiverTest, AsksForRoomBeforeItTakes) {
  runtime_.changedBytes = 1ULL << 60;
  const auto refused = take();
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(refused.error().reason, "disk_full");
  EXPECT_EQ(runtime_.takes, 0);
}

TEST_F(LayerArchiverTest, ASandboxThatWasNeverMadeHasAnEmptyLayer) {
  runtime_.there = false;
  ASSERT_TRUE(take());
  ASSERT_TRUE(send());
  EXPECT_EQ(uploader_.bytes, std::string(kTarEndBytes, '\0'));
}

TEST_F(LayerArchiverTest, ARestartFindsWhatWasSpooledAndDropsWhatWasNot) {
  ASSERT_TRUE(take(3));
  std::filesystem::copy_file(folder_ + "/" + id_.text() + "-3.tar", folder_ + "/" + id_.text() + "-4.part");
  LayerArchiver next({loop_.get_executor(), runtime_, uploader_, pool_, *files_}, folder_, 1 << 20);
  ASSERT_TRUE(next.recover());
  EXPECT_EQ(files(), 1U);
  ASSERT_TRUE(runTask(loop_, next.send(id_, 3, Deadline::after(Millis(1000)))));
  EXPECT_EQ(uploader_.bytes, runtime_.layer);
}

}  // namespace
}  // namespace gs

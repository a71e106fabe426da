#include "agent/blueprints/blueprint_cache.h"

#include <gtest/gtest.h>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "agent/blueprints/test_support.h"
#include "async/task_group.h"

namespace gs::test {
namespace {

class BlueprintCacheTest : public CacheTest {};

Blueprint twoLayers() {
  return makeBlueprint({std::string(5000, 'a'), std::string(300'000, 'b')},
                       R"("Cmd":["serve"],"Env":["PATH=/bin"],"User":"app","WorkingDir":"/srv")");
}

TEST_F(BlueprintCacheTest, DownloadsLoadsAndDescribesABlueprint) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  const auto handle = ensure(blueprint.digest);
  ASSERT_TRUE(handle) << handle.error().describe();
  EXPECT_EQ(handle->runtime, "docker");
  EXPECT_EQ(handle->reference, referenceOf(blueprint.digest));
  EXPECT_EQ(handle->manifest, blueprint.digest);
  EXPECT_EQ(handle->config, blueprint.config);
  EXPECT_EQ(handle->image, (ImageConfig{{"PATH=/bin"}, "/srv", "app", {}, {"serve"}}));
  EXPECT_EQ(filesIn("blobs"), 3u);
  expectNothingHalfKept();

  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(source_.grants, 1);
  EXPECT_EQ(loader_.loads, 1);
  const auto listed = run(cache_->list());
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().state, "ready");
  EXPECT_TRUE(listed->front().cachedAt);
  EXPECT_EQ(listed->front().sizeBytes, 305'000 + blueprint.blobs.at(blueprint.config).size());
}

TEST_F(BlueprintCacheTest, HandsOverAnArchiveThatTarCanRead) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  const auto path = folder_ / "archive.tar";
  writeFile(path, loader_.lastArchive);
  const auto out = folder_ / "out";
  fs::create_directories(out);
  ASSERT_EQ(std::system(fmt::format("tar -xf {} -C {}", path.string(), out.string()).c_str()), 0);
  for (const auto& layer : blueprint.layers) {
    EXPECT_EQ(Digest::of(readFile(out / archiveLayerName(layer))), layer);
  }
  EXPECT_EQ(Digest::of(readFile(out / archiveConfigName(blueprint.config))), blueprint.config);
  EXPECT_TRUE(readFile(out / "manifest.json").contains(referenceOf(blueprint.digest)));
}

Task<Result<std::pair<CacheHandle, CacheHandle>>> ensureTwo(BlueprintCache* cache, Digest a, Digest b) {
  using namespace boost::asio::experimental::awaitable_operators;
  auto [x, y] = co_await (cache->ensureLocal(a, soon()) && cache->ensureLocal(b, soon()));
  if (!x) co_return fail(std::move(x.error()));
  if (!y) co_return fail(std::move(y.error()));
  co_return std::pair(std::move(*x), std::move(*y));
}

TEST_F(BlueprintCacheTest, CallsAtOnceShareOneDownload) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  const auto both = run(ensureTwo(cache_.get(), blueprint.digest, blueprint.digest));
  ASSERT_TRUE(both) << both.error().describe();
  EXPECT_EQ(both->first, both->second);
  EXPECT_EQ(source_.grants, 1);
  for (const auto& [blob, times] : source_.opened) EXPECT_EQ(times, 1) << blob.text();
  EXPECT_EQ(loader_.loads, 1);
}

TEST_F(BlueprintCacheTest, BlueprintsAtOnceShareALayersDownload) {
  const std::string base(200'000, 'x');
  const auto a = makeBlueprint({base, "a"}), b = makeBlueprint({base, "b"});
  source_.serve(a);
  source_.serve(b);
  const auto both = run(ensureTwo(cache_.get(), a.digest, b.digest));
  ASSERT_TRUE(both) << both.error().describe();
  EXPECT_EQ(source_.opened.at(Digest::of(base)), 1);
}

TEST_F(BlueprintCacheTest, TakesALayerThatOccursTwiceOnce) {
  const auto blueprint = makeBlueprint({"same", "other", "same"});
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(source_.opened.at(Digest::of("same")), 1);
}

TEST_F(BlueprintCacheTest, NeedsNoServerAfterARestart) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  writeFile(settings_.directory / "tmp" / "leftover", "half a blob");
  restart();
  EXPECT_EQ(filesIn("tmp"), 0u);
  source_.offline = true;
  const auto handle = ensure(blueprint.digest);
  ASSERT_TRUE(handle) << handle.error().describe();
  EXPECT_EQ(handle->image.user, "app");
  EXPECT_EQ(loader_.loads, 1) << "the image was still in the runtime";
}

TEST_F(BlueprintCacheTest, LoadsAgainWhatTheRuntimeLost) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  source_.offline = true;
  loader_.images.clear();
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(loader_.loads, 2);
  loader_.images[referenceOf(blueprint.digest)] = Digest::of("the tag was moved to another image");
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(loader_.loads, 3);
  EXPECT_EQ(loader_.images[referenceOf(blueprint.digest)], blueprint.config);
}

TEST_F(BlueprintCacheTest, DownloadsAgainWhatTheDiskLost) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  for (const auto& layer : blueprint.layers) fs::remove(blobPath(layer));
  ASSERT_TRUE(ensure(blueprint.digest)) << "the image is in the runtime: blobs are not needed";
  EXPECT_EQ(source_.grants, 1);
  loader_.images.clear();
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(source_.grants, 2);
  expectNothingHalfKept();
}

TEST_F(BlueprintCacheTest, AsksTheServerWhenARecordMakesNoSense) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  const auto damaged = run(database_->run([](Database& db) {
    return db.execute("UPDATE blueprint_cache SET manifest = replace(manifest, 'amd64', 'amd65')");
  }));
  ASSERT_TRUE(damaged);
  restart();
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(source_.grants, 2);
  EXPECT_EQ(loader_.loads, 1);
  restart();
  source_.offline = true;
  ASSERT_TRUE(ensure(blueprint.digest)) << "the record was put right";
}

TEST_F(BlueprintCacheTest, WritesTheLastUseOnceAMinute) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  ASSERT_TRUE(ensure(blueprint.digest));
  const auto lastUsed = [&] { return run(cache_->list())->front().lastUsedAt; };
  const auto first = lastUsed();
  clock_.advance(Millis(59'000));
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(lastUsed(), first);
  clock_.advance(Millis(1'000));
  ASSERT_TRUE(ensure(blueprint.digest));
  EXPECT_EQ(lastUsed(), first + Millis(60'000));
}

TEST_F(BlueprintCacheTest, AsksForNothingWhileTheRuntimeIsAway) {
  const auto blueprint = twoLayers();
  source_.serve(blueprint);
  loader_.offline = true;
  EXPECT_EQ(ensure(blueprint.digest).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(source_.opened.empty());
  loader_.offline = false;
  EXPECT_TRUE(ensure(blueprint.digest));
}

Task<void> ensureInto(BlueprintCache* cache, Digest digest, Deadline deadline,
                      std::optional<Result<CacheHandle>>* out) {
  *out = co_await cache->ensureLocal(digest, deadline);
}
Task<Status> settle(const std::function<bool()>* until) {
  const auto patience = soon();
  while (!(*until)() && !patience.expired()) co_await sleepFor(Millis(1));
  co_return (*until)() ? Status{} : fail(ErrorCode::kDeadlineExceeded, "it never happened");
}

// Calls that go away while a download hangs in the middle of a blob.
class AbandonedDownload : public BlueprintCacheTest {
 protected:
  AbandonedDownload() {
    blueprint_ = twoLayers();
    source_.serve(blueprint_);
    source_.stallAt = 2000;
    settings_.stallTimeout = Millis(300);
    restart();
  }
  void spawn(TaskGroup& group, std::optional<Result<CacheHandle>>* out, Deadline deadline = soon()) {
    group.spawn("ensure", ensureInto(cache_.get(), blueprint_.digest, deadline, out));
  }
  void waitUntil(const std::function<bool()>& happened) { ASSERT_TRUE(run(settle(&happened))); }

  // The config is too short to hang, so it must be a layer.
  bool hangs() { return source_.opened.contains(blueprint_.layers[0]) && *source_.alive == 1; }

  Blueprint blueprint_;
};

TEST_F(AbandonedDownload, EndsWhenNobodyWaitsAndStartsAgainLater) {
  TaskGroup group(loop_.get_executor());
  std::optional<Result<CacheHandle>> out;
  spawn(group, &out);
  waitUntil([&] { return hangs(); });
  run(group.cancelAndJoin());
  EXPECT_FALSE(out);
  waitUntil([&] { return *source_.alive == 0; });
  source_.stallAt = SIZE_MAX;
  // The first call may still meet the download that is just ending, and then shares its outcome.
  if (!ensure(blueprint_.digest)) ASSERT_TRUE(ensure(blueprint_.digest));
  expectNothingHalfKept();
}

TEST_F(AbandonedDownload, GoesOnForThoseWhoStillWait) {
  TaskGroup leaving(loop_.get_executor()), staying(loop_.get_executor());
  std::optional<Result<CacheHandle>> left, stayed;
  spawn(leaving, &left);
  spawn(staying, &stayed);
  waitUntil([&] { return hangs(); });
  run(leaving.cancelAndJoin());
  run(staying.join());
  ASSERT_TRUE(stayed && !*stayed);
  EXPECT_EQ(stayed->error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(stayed->error().reason, "download_stalled");
  expectNothingHalfKept();
}

TEST_F(AbandonedDownload, EachCallHasItsOwnDeadline) {
  TaskGroup group(loop_.get_executor());
  std::optional<Result<CacheHandle>> hasty, patient;
  spawn(group, &hasty, Deadline::after(Millis(50)));
  spawn(group, &patient);
  run(group.join());
  EXPECT_EQ(hasty->error().reason, "blueprint_slow");
  EXPECT_EQ(patient->error().reason, "download_stalled") << "the shared download was not cut short";
}

TEST_F(AbandonedDownload, StopEndsItAndItsCalls) {
  TaskGroup group(loop_.get_executor());
  std::optional<Result<CacheHandle>> out;
  spawn(group, &out);
  waitUntil([&] { return hangs(); });
  run(cache_->stop());
  run(group.join());
  ASSERT_TRUE(out && !*out);
  EXPECT_EQ(out->error().code, ErrorCode::kCancelled);
  EXPECT_EQ(*source_.alive, 0);
  EXPECT_EQ(ensure(blueprint_.digest).error().code, ErrorCode::kCancelled);
  expectNothingHalfKept();
}

}  // namespace
}  // namespace gs::test

// For tests: blueprints made in memory, a BlobSource and a ContainerImageLoader that do what the test says, and a disk
// that fails where the test says.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/blueprints/blueprint_cache.h"
#include "agent/blueprints/blueprint_manifest.h"
#include "agent/runtimes/image_archive.h"
#include "async/event.h"
#include "async/run_task.h"
#include "base/encoding.h"

namespace gs::test {

namespace fs = std::filesystem;

inline Deadline soon() {
  return Deadline::after(Millis(60'000));
}

inline std::string readFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void writeFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Blueprint {
  std::string manifest;
  Digest digest;
  Digest config;
  std::vector<Digest> layers;
  std::map<Digest, std::string> blobs;
};

inline std::string blobText(const std::string& bytes) {
  return fmt::format(R"({{"digest":"{}","sizeBytes":{}}})", Digest::of(bytes).text(), bytes.size());
}

// The image config names the layers; `imageFields` are further members of it, e.g. `"Env":["A=1"]`.
inline Blueprint makeBlueprint(const std::vector<std::string>& layers, const std::string& imageFields = "") {
  Blueprint out;
  std::string ids, list;
  for (const auto& layer : layers) {
    out.blobs[Digest::of(layer)] = layer;
    out.layers.push_back(Digest::of(layer));
    ids += fmt::format("{}\"{}\"", ids.empty() ? "" : ",", Digest::of(layer).text());
    list += (list.empty() ? "" : ",") + blobText(layer);
  }
  const auto config = fmt::format(
      R"({{"architecture":"amd64","config":{{{}}},"os":"linux","rootfs":{{"diff_ids":[{}],"type":"layers"}}}})",
      imageFields, ids);
  out.config = Digest::of(config);
  out.blobs[out.config] = config;
  out.manifest = fmt::format(R"({{"architecture":"amd64","config":{},"formatVersion":1,"layers":[{}],"os":"linux"}})",
                             blobText(config), list);
  out.digest = Digest::of(out.manifest);
  return out;
}

// Gives a text in pieces; may announce another size, stop for ever at a place, and counts those alive.
class FakeBody final : public BodyReader {
 public:
  FakeBody(std::string bytes, std::size_t piece, std::size_t stallAt, std::shared_ptr<int> alive)
      : bytes_(std::move(bytes)), piece_(piece), stallAt_(stallAt), alive_(std::move(alive)) {
    ++*alive_;
  }
  ~FakeBody() override { --*alive_; }
  FakeBody(const FakeBody&) = delete;
  FakeBody& operator=(const FakeBody&) = delete;

  Task<Result<std::string>> next() override {
    if (at_ >= stallAt_) co_await sleepUntil(Deadline::after(Millis(3'600'000)));
    const auto out = bytes_.substr(std::min(at_, bytes_.size()), piece_);
    at_ += out.size();
    co_return out;
  }

 private:
  std::string bytes_;
  std::size_t piece_;
  std::size_t stallAt_;
  std::size_t at_ = 0;
  std::shared_ptr<int> alive_;
};

class FakeSource final : public BlobSource {
 public:
  Task<Result<BlobGrant>> requestCredential(Digest manifest, Deadline) override {
    ++grants;
    if (offline) co_return fail(ErrorCode::kUnavailable, "no link");
    const auto it = manifests.find(manifest);
    if (it == manifests.end()) co_return fail(ErrorCode::kNotFound, "no assignment names it");
    co_return BlobGrant{it->second, SecretString("credential-" + std::to_string(grants)), {}};
  }
  Task<Result<BlobStream>> openBlob(Digest blob, SecretString credential, Deadline) override {
    ++opened[blob];
    if (offline) co_return fail(ErrorCode::kUnavailable, "no server");
    if (refuse && refuse(credential)) co_return fail(ErrorCode::kUnauthenticated, "credential expired");
    const auto it = blobs.find(blob);
    if (it == blobs.end()) co_return fail(ErrorCode::kNotFound, "no such blob");
    const auto size = announce.contains(blob) ? announce[blob] : std::optional<std::uint64_t>();
    co_return BlobStream{std::make_unique<FakeBody>(it->second, pieceBytes, stallAt, alive), size};
  }
  void serve(const Blueprint& blueprint) {
    manifests[blueprint.digest] = blueprint.manifest;
    for (const auto& [digest, bytes] : blueprint.blobs) blobs[digest] = bytes;
  }

  std::map<Digest, std::string> manifests;
  std::map<Digest, std::string> blobs;
  std::map<Digest, std::optional<std::uint64_t>> announce;
  std::map<Digest, int> opened;
  std::function<bool(const SecretString&)> refuse;
  std::shared_ptr<int> alive = std::make_shared<int>(0);
  std::size_t pieceBytes = 1000;
  std::size_t stallAt = SIZE_MAX;
  int grants = 0;
  bool offline = false;
};

// Takes an archive as an engine would: whole, or not at all.
class FakeLoader final : public ContainerImageLoader {
 public:
  [[nodiscard]] std::string_view runtimeName() const override { return "docker"; }
  Task<Result<std::optional<Digest>>> findImage(std::string reference, Deadline) override {
    ++finds;
    if (offline) co_return fail(ErrorCode::kUnavailable, "Docker does not answer");
    const auto it = images.find(reference);
    if (it == images.end()) co_return std::optional<Digest>();
    co_return std::optional(it->second);
  }
  Task<Status> load(std::unique_ptr<BodySource> archive, Deadline) override {
    ++loads;
    std::string bytes;
    while (true) {
      auto piece = co_await archive->next();
      if (!piece) co_return fail(ErrorCode::kUnavailable, "the transfer was cut");
      if (piece->empty()) break;
      bytes += *piece;
    }
    EXPECT_EQ(bytes.size(), archive->sizeBytes());
    lastArchive = bytes;
    const auto text = bytes.substr(kTarBlockBytes, bytes.find('\0', kTarBlockBytes) - kTarBlockBytes);
    const auto config = text.substr(text.find("\"Config\":\"") + 10, 64);
    const auto from = text.find("\"RepoTags\":[\"") + 13;
    images[text.substr(from, text.find('"', from) - from)] = lie.empty() ? *Digest::parse("sha256:" + config) : lie;
    co_return Status{};
  }
  Task<Status> removeImage(std::string reference, Deadline) override {
    images.erase(reference);
    co_return Status{};
  }

  std::map<std::string, Digest> images;
  std::string lastArchive;
  Digest lie;
  int finds = 0;
  int loads = 0;
  bool offline = false;
};

// The real disk, but the n-th write from now fails as a full disk does, and free space is what the test says.
class FaultyFiles final : public BlobFiles {
 public:
  Status makeFolder(fs::path path) override { return disk_->makeFolder(std::move(path)); }
  Result<std::unique_ptr<BlobFile>> create(fs::path path) override {
    GS_TRY(auto file, disk_->create(std::move(path)));
    return std::make_unique<Writer>(*this, std::move(file));
  }
  Result<std::unique_ptr<BlobReader>> open(fs::path path) override { return disk_->open(std::move(path)); }
  Status moveInto(fs::path from, fs::path to) override {
    if (step()) return fail(errnoError(ENOSPC, "rename"));
    return disk_->moveInto(std::move(from), std::move(to));
  }
  Status remove(fs::path path) override { return disk_->remove(std::move(path)); }
  Result<std::vector<std::string>> listFolder(fs::path path) override { return disk_->listFolder(std::move(path)); }
  Result<std::uint64_t> freeBytes(fs::path path) override {
    if (free) return *free;
    return disk_->freeBytes(std::move(path));
  }

  int failAt = 0;  // 1: the next write, fsync or rename; 0: none
  std::optional<std::uint64_t> free;

 private:
  class Writer final : public BlobFile {
   public:
    Writer(FaultyFiles& files, std::unique_ptr<BlobFile> file) : files_(files), file_(std::move(file)) {}
    Status write(std::string_view bytes) override {
      if (!files_.step()) return file_->write(bytes);
      // A full disk takes what fits.
      (void)file_->write(bytes.substr(0, bytes.size() / 2));
      return fail(errnoError(ENOSPC, "write"));
    }
    Status sync() override {
      if (files_.step()) return fail(errnoError(ENOSPC, "fsync"));
      return file_->sync();
    }

   private:
    FaultyFiles& files_;
    std::unique_ptr<BlobFile> file_;
  };
  bool step() { return failAt > 0 && --failAt == 0; }

  std::unique_ptr<BlobFiles> disk_ = makeDiskFiles();
};

// A cache in a folder of its own, that can be started again over what it left.
class CacheTest : public testing::Test {
 protected:
  CacheTest() : folder_(fmt::format("/tmp/gs-cache-{}", randomIdChars(8))) {
    fs::create_directories(folder_);
    settings_.directory = folder_ / "cache";
    settings_.reserveBytes = 0;
    restart();
  }
  ~CacheTest() override {
    end();
    fs::remove_all(folder_);
  }
  void end() {
    if (cache_) runTask(loop_, cache_->stop());
    cache_.reset();
    database_.reset();
  }
  void restart() {
    end();
    auto database = Database::open((folder_ / "agent.db").string());
    ASSERT_TRUE(database) << database.error().describe();
    const auto migrated =
        migrate(*database, {std::begin(kBlueprintCacheMigrations), std::end(kBlueprintCacheMigrations)});
    ASSERT_TRUE(migrated) << migrated.error().describe();
    database_ = std::make_unique<DatabaseThread>(std::move(*database));
    cache_ = std::make_unique<BlueprintCache>(
        BlueprintCache::Parts{loop_.get_executor(), source_, loader(), pool_, *database_, files_, clock_}, settings_);
    const auto recovered = run(cache_->recover());
    ASSERT_TRUE(recovered) << recovered.error().describe();
  }
  [[nodiscard]] virtual ContainerImageLoader& loader() { return loader_; }

  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }
  Result<CacheHandle> ensure(const Digest& digest) { return run(cache_->ensureLocal(digest, soon())); }
  [[nodiscard]] fs::path blobPath(const Digest& blob) const { return settings_.directory / "blobs" / blob.hex(); }
  [[nodiscard]] std::size_t filesIn(const char* name) const {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(settings_.directory / name)) ++n;
    return n;
  }
  [[nodiscard]] std::string referenceOf(const Digest& digest) const {
    return settings_.referencePrefix + ":" + digest.hex();
  }
  // tmp/ is empty and every file in blobs/ is what its name says.
  void expectNothingHalfKept() const {
    EXPECT_EQ(filesIn("tmp"), 0u);
    for (const auto& entry : fs::directory_iterator(settings_.directory / "blobs")) {
      EXPECT_EQ(Digest::of(readFile(entry.path())).hex(), entry.path().filename()) << "half-kept";
    }
  }

  fs::path folder_;
  asio::io_context loop_;
  BlueprintCacheSettings settings_;
  FakeSource source_;
  FakeLoader loader_;
  FaultyFiles files_;
  FakeClock clock_;
  BlockingPool pool_{2};
  std::unique_ptr<DatabaseThread> database_;
  std::unique_ptr<BlueprintCache> cache_;
};

}  // namespace gs::test

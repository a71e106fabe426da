#include "server/blueprints/archive_importer.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "async/run_task.h"
#include "server/blueprints/blob_body.h"
#include "server/blueprints/blueprint_manifest.h"
#include "server/blueprints/file_blob_store.h"
#include "server/blueprints/test_archive.h"

namespace gs {
namespace {

namespace fs = std::filesystem;
using namespace gs::testing;

class TextBody final : public BodyReader {
 public:
  TextBody(std::string bytes, std::size_t piece, std::optional<Error> end = {})
      : bytes_(std::move(bytes)), piece_(piece), end_(std::move(end)) {}
  Task<Result<std::string>> next() override {
    if (at_ >= bytes_.size() && end_) co_return fail(*end_);
    auto out = bytes_.substr(at_, piece_);
    at_ += out.size();
    co_return out;
  }

 private:
  std::string bytes_;
  std::size_t piece_;
  std::size_t at_ = 0;
  std::optional<Error> end_;
};

class ArchiveImporterTest : public ::testing::Test {
 protected:
  ArchiveImporterTest() {
    root_ = (fs::temp_directory_path() / fmt::format("gs-blobs-{}", makeIdText("tst"))).string();
    store_ = FileBlobStore::open(root_).value();
  }
  ~ArchiveImporterTest() override { fs::remove_all(root_); }

  Result<BlueprintRecord> import(std::string bytes, Digest expected = {}, std::size_t piece = 1000) {
    ArchiveImporter importer(store_, clock_, settings_);
    TextBody body(std::move(bytes), piece);
    return runTask(loop_, importer.import(body, std::move(expected)));
  }
  std::size_t files(std::string_view below) const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root_ + std::string(below))) count += entry.is_regular_file();
    return count;
  }
  std::string blob(const Digest& digest) const {
    auto reader = store_->open(digest).value();
    std::string out(reader->sizeBytes(), '\0');
    std::size_t done = 0;
    while (done < out.size()) done += reader->read(std::span(out).subspan(done)).value();
    return out;
  }

  asio::io_context loop_;
  SystemClock clock_;
  ImporterSettings settings_;
  std::string root_;
  std::shared_ptr<FileBlobStore> store_;
};

std::string smallLayer(std::string_view text = "hello") {
  return tarOf({{"bin/", "", '5', ""}, {"bin/sh", std::string(text)}, {"bin/ash", "", '2', "/bin/sh"}, {"bin/bash", "", '1', "bin/sh"}});
}

TEST_F(ArchiveImporterTest, StoresLayersUncompressedUnderTheirDiffIdAndTheConfigurationUntouched) {
  const auto image = imageOf({plainLayer(smallLayer("one")), gzipLayer(smallLayer("two"))});
  const auto archive = tarOf(ociEntries(image));
  const auto record = import(archive, Digest::of(archive));
  ASSERT_TRUE(record) << record.error().describe();
  const auto manifest = parseBlueprintManifest(record->manifest).value();
  ASSERT_EQ(manifest.layers.size(), 2U);
  EXPECT_EQ(blob(manifest.layers[1].digest), image.layers[1].plain);
  EXPECT_EQ(blob(manifest.config.digest), image.config);
  EXPECT_EQ(record->imageConfig, image.config);
  EXPECT_EQ(record->manifestDigest, Digest::of(record->manifest));
  EXPECT_EQ(record->archiveDigest, Digest::of(archive));
  EXPECT_EQ(record->sizeBytes, static_cast<std::int64_t>(image.config.size() + image.layers[0].plain.size() + image.layers[1].plain.size()));
  EXPECT_EQ(record->manifest, fmt::format(R"({{"architecture":"amd64","config":{{"digest":"{}","sizeBytes":{}}},"formatVersion":1,)"
                                          R"("layers":[{{"digest":"{}","sizeBytes":{}}},{{"digest":"{}","sizeBytes":{}}}],"os":"linux"}})",
                                          Digest::of(image.config).text(), image.config.size(), Digest::of(image.layers[0].plain).text(),
                                          image.layers[0].plain.size(), Digest::of(image.layers[1].plain).text(), image.layers[1].plain.size()));
  EXPECT_EQ(files("/uploads"), 0U);
  EXPECT_EQ(files("/blobs"), 3U);
}

TEST_F(ArchiveImporterTest, GivesOneImageOneManifestWhateverTheFormOfTheArchive) {
  const auto image = imageOf({gzipLayer(smallLayer("a")), gzipLayer(smallLayer("b"))});
  auto unpacked = image;
  for (auto& layer : unpacked.layers) layer = plainLayer(layer.plain);
  const auto oci = import(tarOf(ociEntries(image)));
  const auto gzipped = import(gzipOf(tarOf(ociEntries(image))), {}, 7);
  const auto saved = import(tarOf(dockerSaveEntries(unpacked)));
  const auto savedGzip = import(tarOf(dockerSaveEntries(image)));
  ASSERT_TRUE(oci) << oci.error().describe();
  ASSERT_TRUE(gzipped) << gzipped.error().describe();
  ASSERT_TRUE(saved) << saved.error().describe();
  ASSERT_TRUE(savedGzip) << savedGzip.error().describe();
  EXPECT_EQ(oci->manifestDigest, gzipped->manifestDigest);
  EXPECT_EQ(oci->manifestDigest, saved->manifestDigest);
  EXPECT_EQ(oci->manifestDigest, savedGzip->manifestDigest);
  EXPECT_EQ(files("/blobs"), 3U);
}

TEST_F(ArchiveImporterTest, TakesARepeatedLayerThatDockerSaveWroteAsALink) {
  const auto layer = plainLayer(std::string(1024, '\0'));
  const auto image = imageOf({layer, plainLayer(smallLayer()), layer});
  auto entries = dockerSaveEntries(image);
  entries[2] = {entries[2].name, "", '2', "../" + entries[0].name};
  const auto record = import(tarOf(entries));
  ASSERT_TRUE(record) << record.error().describe();
  EXPECT_EQ(parseBlueprintManifest(record->manifest)->layers.size(), 3U);
  EXPECT_EQ(files("/blobs"), 3U);
}

TEST_F(ArchiveImporterTest, FollowsOneNestedIndexAndPicksLinuxAmd64) {
  const auto amd = imageOf({plainLayer(smallLayer())});
  const auto arm = imageOf({plainLayer(smallLayer("arm"))}, "arm64");
  const std::string_view type = "application/vnd.oci.image.manifest.v1+json";
  const auto nested = fmt::format(R"({{"manifests":[{},{},{}]}})", descriptor(type, arm.manifest, R"(,"platform":{"os":"linux","architecture":"arm64"})"),
                                  descriptor(type, amd.manifest, R"(,"platform":{"os":"linux","architecture":"amd64"})"),
                                  descriptor(type, "none", R"(,"platform":{"os":"unknown","architecture":"unknown"})"));
  auto image = amd;
  image.index = fmt::format(R"({{"manifests":[{}]}})", descriptor("application/vnd.oci.image.index.v1+json", nested));
  auto entries = ociEntries(image);
  entries.push_back({blobName(nested), nested});
  const auto record = import(tarOf(entries));
  ASSERT_TRUE(record) << record.error().describe();
  EXPECT_EQ(record->architecture, "amd64");
}

struct BadArchive {
  std::string why;
  std::string bytes;
  ErrorCode code;
  std::string reason;
};

std::vector<TarEntry> with(std::vector<TarEntry> entries, TarEntry more) {
  entries.push_back(std::move(more));
  return entries;
}
std::string layerArchive(std::string layer) { return tarOf(ociEntries(imageOf({plainLayer(std::move(layer))}))); }
std::string replaceAll(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}
std::string dropEnd(std::string tar, std::size_t bytes) {
  tar.resize(tar.size() - bytes);
  return tar;
}

std::vector<BadArchive> badArchives() {
  const auto image = imageOf({plainLayer(smallLayer())});
  const auto good = ociEntries(image);
  const auto invalid = ErrorCode::kInvalidArgument;
  std::vector<BadArchive> rows{
      {"no bytes", "", invalid, "archive_empty"},
      {"no tar", std::string(5000, 'x'), invalid, "archive_not_an_image"},
      {"a script", "#!/bin/sh\necho hello\n", invalid, "archive_not_an_image"},
      {"an empty tar", tarOf({}), invalid, "archive_not_an_image"},
      {"a tar without an image", tarOf({{"README", "hello"}}), invalid, "archive_not_an_image"},
      {"cut in an entry", tarOf(good).substr(0, 5000), invalid, "archive_truncated"},
      {"cut in the gzip", dropEnd(gzipOf(tarOf(good)), 60), invalid, "archive_truncated"},
      {"cut between entries", tarEntry(good[0]) + tarEntry(good[1]), invalid, "archive_truncated"},
      {"climbs out", tarOf(with(good, {"../etc/passwd", "x"})), invalid, "archive_unsafe_path"},
      {"climbs out later", tarOf(with(good, {"a/../../b", "x"})), invalid, "archive_unsafe_path"},
      {"absolute", tarOf(with(good, {"/etc/passwd", "x"})), invalid, "archive_unsafe_path"},
      {"climbs out in a pax name", paxHeader({{"path", "../x"}}) + tarEntry({"x", "x"}) + tarOf(good), invalid, "archive_unsafe_path"},
      {"a name that is too long", paxHeader({{"path", std::string(5000, 'a')}}) + tarEntry({"x", "x"}) + tarOf(good), invalid, "archive_unsafe_path"},
      {"a symbolic link", tarOf(with(good, {"link", "", '2', "/etc/passwd"})), invalid, "archive_unsafe_entry"},
      {"a link that looks like a repeated layer", tarOf(with(good, {std::string(64, 'a') + "/layer.tar", "", '2', "../../" + std::string(64, 'b') + "/layer.tar"})), invalid, "archive_unsafe_entry"},
      {"a repeated layer of nothing", tarOf(with(good, {std::string(64, 'a') + "/layer.tar", "", '2', "../" + std::string(64, 'b') + "/layer.tar"})), invalid, "archive_unsafe_entry"},
      {"a hard link", tarOf(with(good, {"link", "", '1', "index.json"})), invalid, "archive_unsafe_entry"},
      {"a character device", tarOf(with(good, {"null", "", '3', ""})), invalid, "archive_unsafe_entry"},
      {"a block device", tarOf(with(good, {"sda", "", '4', ""})), invalid, "archive_unsafe_entry"},
      {"a fifo", tarOf(with(good, {"pipe", "", '6', ""})), invalid, "archive_unsafe_entry"},
      {"an entry twice", tarOf(with(good, good[1])), invalid, "archive_unsafe_entry"},
      {"an entry twice by another spelling", tarOf(with(good, {"./index.json", "{}"})), invalid, "archive_unsafe_entry"},
      {"a blob that is not its name", tarOf(with(good, {"blobs/sha256/" + std::string(64, '0'), "x"})), ErrorCode::kDataLoss, "digest_mismatch"},
      {"a layer with a device", layerArchive(tarOf({{"dev/sda", "", '4', ""}})), invalid, "archive_unsafe_entry"},
      {"a layer that climbs out", layerArchive(tarOf({{"../x", "y"}})), invalid, "archive_unsafe_path"},
      {"a layer whose hard link escapes", layerArchive(tarOf({{"x", "", '1', "../../etc/shadow"}})), invalid, "archive_unsafe_path"},
      {"a layer that is cut", layerArchive(tarEntry({"x", std::string(3000, 'y')}).substr(0, 2048)), invalid, "archive_truncated"},
      {"a layer that is no tar", layerArchive("this is no tar"), invalid, "archive_not_an_image"},
      {"a layer in zstd", layerArchive(std::string("\x28\xb5\x2f\xfd", 4) + std::string(600, 'z')), invalid, "unsupported_media_type"},
      {"no layers", tarOf(ociEntries(imageOf({}))), invalid, "archive_not_an_image"},
  };
  const auto lie = [&](std::string why, ImageParts parts, ErrorCode code, std::string reason) {
    rows.push_back({std::move(why), tarOf(ociEntries(parts)), code, std::move(reason)});
  };
  const std::string_view type = "application/vnd.oci.image.manifest.v1+json";
  const auto reindex = [&](ImageParts parts) {
    parts.index = fmt::format(R"({{"manifests":[{}]}})", descriptor(type, parts.manifest));
    return parts;
  };
  auto parts = image;
  parts.index = replaceAll(parts.index, fmt::format("\"size\":{}", parts.manifest.size()), "\"size\":1");
  lie("an index that lies about a size", parts, ErrorCode::kDataLoss, "digest_mismatch");
  parts = image;
  parts.index = replaceAll(parts.index, Digest::of(parts.manifest).hex(), std::string(64, '1'));
  lie("an index that names what is not there", parts, invalid, "archive_truncated");
  parts = image;
  parts.manifest = replaceAll(parts.manifest, fmt::format("\"size\":{}", parts.layers[0].sent.size()), "\"size\":7");
  lie("a manifest that lies about a layer's size", reindex(parts), ErrorCode::kDataLoss, "digest_mismatch");
  parts = image;
  parts.manifest = replaceAll(parts.manifest, "image.layer.v1.tar", "image.layer.v1.tar+zstd");
  lie("a layer of a type that is not known", reindex(parts), invalid, "unsupported_media_type");
  parts = imageOf({{gzipOf(smallLayer("x")), smallLayer("y"), "application/vnd.oci.image.layer.v1.tar+gzip"}});
  lie("a diff_id that lies", parts, ErrorCode::kDataLoss, "digest_mismatch");
  parts = imageOf(std::vector<ImageLayer>(128, plainLayer(smallLayer())));
  lie("too many layers", parts, invalid, "too_many_layers");
  parts = imageOf({plainLayer(smallLayer())}, "riscv64");
  lie("an architecture that is not known", parts, invalid, "archive_not_an_image");
  parts = image;
  parts.index = "{\"manifests\":[]}";
  lie("an index without images", parts, invalid, "archive_not_an_image");
  parts = image;
  parts.index = std::string(100, '[');
  lie("an index that is no JSON", parts, invalid, "archive_not_an_image");
  parts = image;
  parts.index += std::string(5 << 20, ' ');
  lie("an index that is too large", parts, ErrorCode::kResourceExhausted, "limit_exceeded");
  const auto other = imageOf({plainLayer(smallLayer("other"))});
  parts = image;
  parts.index = fmt::format(R"({{"manifests":[{},{}]}})", descriptor(type, image.manifest), descriptor(type, other.manifest));
  lie("two images", parts, invalid, "archive_not_an_image");

  auto saved = dockerSaveEntries(image);
  saved[1].name = std::string(64, 'e') + ".json";
  saved[2].content = replaceAll(saved[2].content, Digest::of(image.config).hex(), std::string(64, 'e'));
  rows.push_back({"docker-save with a configuration that is not its name", tarOf(saved), ErrorCode::kDataLoss, "digest_mismatch"});
  saved = dockerSaveEntries(image);
  saved[2].content.pop_back();
  saved[2].content += "," + saved[2].content.substr(1) + "]";
  rows.push_back({"docker-save with two images", tarOf(saved), invalid, "archive_not_an_image"});
  saved = dockerSaveEntries(image);
  saved.erase(saved.begin());
  rows.push_back({"docker-save without a layer", tarOf(saved), invalid, "archive_truncated"});
  return rows;
}

TEST_F(ArchiveImporterTest, RefusesEveryBadArchiveWithItsReasonAndKeepsNothing) {
  for (const auto& row : badArchives()) {
    SCOPED_TRACE(row.why);
    const auto result = import(row.bytes);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, row.code) << result.error().describe();
    EXPECT_EQ(result.error().reason, row.reason) << result.error().describe();
    EXPECT_EQ(files("/uploads"), 0U);
    EXPECT_EQ(files("/blobs"), 0U);
  }
}

TEST_F(ArchiveImporterTest, RefusesAnArchiveThatIsNotWhatTheRequestSays) {
  const auto result = import(tarOf(ociEntries(imageOf({plainLayer(smallLayer())}))), Digest::of("something else"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, "digest_mismatch");
  EXPECT_EQ(files("/blobs"), 0U);
}

TEST_F(ArchiveImporterTest, StopsAtEachLimit) {
  const auto archive = tarOf(ociEntries(imageOf({plainLayer(smallLayer())})));
  settings_.limits.entries = 3;
  EXPECT_EQ(import(archive).error().reason, "limit_exceeded");
  settings_.limits = {};
  settings_.limits.bodyBytes = 2000;
  EXPECT_EQ(import(archive).error().reason, "limit_exceeded");
  settings_.limits = {};
  settings_.limits.unpackedBytes = 2000;
  EXPECT_EQ(import(archive).error().reason, "limit_exceeded");
  settings_.limits = {};
  settings_.limits.expansionFree = 1 << 20;
  const auto zeros = tarOf({{"zeros", std::string(8 << 20, '\0')}});
  EXPECT_EQ(import(tarOf(ociEntries(imageOf({gzipLayer(zeros)}))), {}, 65536).error().reason, "decompression_bomb");
  EXPECT_EQ(import(gzipOf(tarOf(ociEntries(imageOf({plainLayer(zeros)})))), {}, 65536).error().reason, "decompression_bomb");
  EXPECT_EQ(files("/uploads"), 0U);
}

TEST_F(ArchiveImporterTest, PassesOnThatTheClientWentAway) {
  ArchiveImporter importer(store_, clock_);
  TextBody body(tarOf(ociEntries(imageOf({plainLayer(smallLayer())}))).substr(0, 4000), 500,
                makeError(ErrorCode::kUnavailable, "the client went away"));
  const auto result = runTask(loop_, importer.import(body, {}));
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(files("/uploads"), 0U);
}

// A client that stops sending while the archive is refused already must not hold up the answer.
class StuckBody final : public BodyReader {
 public:
  explicit StuckBody(std::string bytes) : bytes_(std::move(bytes)) {}
  Task<Result<std::string>> next() override {
    if (bytes_.empty()) co_await sleepUntil(Deadline::never());
    co_return std::exchange(bytes_, "");
  }

 private:
  std::string bytes_;
};

TEST_F(ArchiveImporterTest, AnswersBeforeTheBodyEndsWhenItIsBad) {
  ArchiveImporter importer(store_, clock_);
  StuckBody body(std::string(4 << 20, 'x'));
  EXPECT_EQ(runTask(loop_, importer.import(body, {})).error().reason, "archive_not_an_image");
}

TEST_F(ArchiveImporterTest, SweepsOnlyOldBlobsThatNoManifestNames) {
  settings_.sweepAge = Millis(0);
  const auto kept = import(tarOf(ociEntries(imageOf({plainLayer(smallLayer("kept"))})))).value();
  static_cast<void>(import(tarOf(ociEntries(imageOf({plainLayer(smallLayer("gone"))})))).value());
  ASSERT_EQ(files("/blobs"), 4U);
  FakeClock clock;
  ArchiveImporter past(store_, clock, settings_);
  ASSERT_TRUE(runTask(loop_, past.sweep({kept.manifest})));
  EXPECT_EQ(files("/blobs"), 4U) << "younger than the sweep's border";
  clock.advance(std::chrono::hours(24 * 365 * 100));
  ASSERT_FALSE(runTask(loop_, past.sweep({kept.manifest, "{}"}))) << "a manifest that cannot be read keeps everything";
  EXPECT_EQ(files("/blobs"), 4U);
  ASSERT_TRUE(runTask(loop_, past.sweep({kept.manifest})));
  EXPECT_EQ(files("/blobs"), 2U);
}

TEST_F(ArchiveImporterTest, ServesABlobInPieces) {
  std::string text(600'000, 'q');
  auto staged = store_->stage().value();
  ASSERT_TRUE(staged->append(text));
  const auto digest = staged->digest();
  ASSERT_TRUE(store_->publish(*staged));
  BlockingPool pool(1);
  auto body = runTask(loop_, openBlobBody(pool, store_, digest));
  ASSERT_TRUE(body);
  EXPECT_EQ((*body)->sizeBytes(), text.size());
  std::string got;
  for (;;) {
    const auto piece = runTask(loop_, (*body)->next()).value();
    if (piece.empty()) break;
    got += piece;
  }
  EXPECT_EQ(got, text);
  EXPECT_EQ(runTask(loop_, openBlobBody(pool, store_, Digest::of("none"))).error().code, ErrorCode::kNotFound);
}

TEST_F(ArchiveImporterTest, ForgetsUploadsOfTheProcessBefore) {
  auto staged = store_->stage().value();
  ASSERT_TRUE(staged->append("half"));
  EXPECT_EQ(files("/uploads"), 1U);
  const auto again = FileBlobStore::open(root_).value();
  EXPECT_EQ(files("/uploads"), 0U);
}

}  // namespace
}  // namespace gs

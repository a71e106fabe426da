#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "trees/tree_extractor.h"
#include "trees/tree_packer.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

class Trees : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "gs-trees-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    fs::create_directory(source());
    fs::create_directory(target());
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path source() const { return root_ / "source"; }
  fs::path target() const { return root_ / "target"; }
  static void write(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }
  static std::string read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static TreeResult<std::string> pack(const fs::path& path, TreePacker::Named named, std::size_t piece = 1000) {
    auto packer = TreePacker::open(path.string(), named);
    if (!packer) return std::unexpected(packer.error());
    std::string out;
    std::string buffer(piece, '\0');
    while (true) {
      const auto count = packer->read(buffer);
      if (!count) return std::unexpected(count.error());
      if (*count == 0) return out;
      out.append(buffer, 0, *count);
    }
  }
  TreeResult<void> extract(std::string_view tar, ExtractRules rules = {}, std::size_t piece = 700) {
    OwnedFd destination(::open(target().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    TreeExtractor extractor(std::move(destination), rules);
    for (std::size_t at = 0; at < tar.size(); at += piece) {
      if (auto fed = extractor.feed(tar.substr(at, piece)); !fed) return fed;
    }
    return extractor.finish();
  }
  static std::string entry(TarKind kind, std::string name, std::string link = {}, std::string_view data = {}) {
    TarEntry out{.kind = kind, .name = std::move(name), .linkTarget = std::move(link), .sizeBytes = data.size(), .mode = 0644};
    return tarHeader(out) + std::string(data) + std::string(tarPadding(data.size()), '\0');
  }

  fs::path root_;
};

TEST_F(Trees, ComeOutAsTheyWentIn) {
  fs::create_directories(source() / "a" / "empty");
  const std::string odd = "new\nline \xff\xfe";
  const std::string longName(200, 'n');
  write(source() / "a" / odd, "odd");
  write(source() / "a" / longName, std::string(100'000, 'x'));
  write(source() / "script", "#!/bin/sh\n");
  write(source() / "empty", "");
  fs::create_symlink("a/" + longName, source() / "link");
  fs::create_symlink("/nowhere", source() / "broken");
  ASSERT_EQ(::chmod((source() / "script").c_str(), 0751), 0);
  ASSERT_EQ(::chmod((source() / "a").c_str(), 0700), 0);
  const timespec times[2] = {{1, 0}, {1'234'567'890, 123'456'789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (source() / "script").c_str(), times, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (source() / "a").c_str(), times, 0), 0);
  const auto tar = pack(source(), TreePacker::Named::kByItsName, 333);
  ASSERT_TRUE(tar) << tar.error().message;
  const auto done = extract(*tar);
  ASSERT_TRUE(done) << done.error().message;
  const fs::path out = target() / "source";
  EXPECT_EQ(read(out / "a" / odd), "odd");
  EXPECT_EQ(read(out / "a" / longName), std::string(100'000, 'x'));
  EXPECT_EQ(read(out / "empty"), "");
  EXPECT_TRUE(fs::is_directory(out / "a" / "empty"));
  EXPECT_EQ(fs::read_symlink(out / "link"), "a/" + longName);
  EXPECT_EQ(fs::read_symlink(out / "broken"), "/nowhere");
  for (const char* name : {"script", "a"}) {
    struct stat info{};
    ASSERT_EQ(::lstat((out / name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mtim.tv_sec, 1'234'567'890) << name;
    EXPECT_EQ(info.st_mtim.tv_nsec, 123'456'789) << name;
    EXPECT_EQ(info.st_mode & 07777, name == std::string("a") ? 0700U : 0751U);
  }
}

TEST_F(Trees, OfContentsOnlyBeginAtTheDestination) {
  write(source() / "f", "1");
  const auto tar = pack(source(), TreePacker::Named::kContentsOnly);
  ASSERT_TRUE(tar);
  ASSERT_TRUE(extract(*tar));
  EXPECT_EQ(read(target() / "f"), "1");
}

TEST_F(Trees, PackFifosAsHeadersAndNeverOpenThem) {
  ASSERT_EQ(::mkfifo((source() / "fifo").c_str(), 0600), 0);
  const auto tar = pack(source(), TreePacker::Named::kByItsName);  // would hang for good if it was opened
  ASSERT_TRUE(tar) << tar.error().message;
  const auto refused = extract(*tar);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, TreeFault::kUnsupported);
  EXPECT_TRUE(extract(*tar, {.special = ExtractRules::Special::kPassOver}));
  EXPECT_FALSE(fs::exists(target() / "source" / "fifo"));
}

TEST_F(Trees, ReplaceFilesInsteadOfWritingIntoThem) {
  write(root_ / "outside", "untouched");
  fs::create_symlink("../outside", target() / "f");
  fs::create_hard_link(root_ / "outside", target() / "g");
  ASSERT_TRUE(extract(entry(TarKind::kFile, "f", {}, "new") + entry(TarKind::kFile, "g", {}, "new") + tarEnd()));
  EXPECT_EQ(read(root_ / "outside"), "untouched");
  EXPECT_EQ(read(target() / "f"), "new");
  EXPECT_FALSE(fs::is_symlink(target() / "f"));
  EXPECT_EQ(read(target() / "g"), "new");
}

TEST_F(Trees, NeverLeadOutOfTheDestination) {
  fs::create_directory(root_ / "victim");
  fs::create_symlink("../victim", target() / "before");
  write(root_ / "secret", "s");
  struct Case {
    std::string tar;
    std::string_view why;
  };
  const Case cases[] = {
      {entry(TarKind::kFile, "../victim/f", {}, "x"), "dots at the beginning"},
      {entry(TarKind::kFile, "a/../../victim/f", {}, "x"), "dots in the middle"},
      {entry(TarKind::kFile, "..", {}, "x"), "nothing but dots"},
      {entry(TarKind::kFile, (root_ / "victim" / "f").string(), {}, "x"), "an absolute name"},
      {entry(TarKind::kFile, "before/f", {}, "x"), "a link that was there before"},
      {entry(TarKind::kDirectory, "before"), "a directory where a link is"},
      {entry(TarKind::kLink, "l", "../victim") + entry(TarKind::kFile, "l/f", {}, "x"), "a link of the tar itself"},
      {entry(TarKind::kLink, "l", (root_ / "victim").string()) + entry(TarKind::kDirectory, "l/d"), "an absolute link of the tar"},
      {entry(TarKind::kHardLink, "h", "../secret"), "a hard link to the outside"},
      {entry(TarKind::kHardLink, "h", "before/x"), "a hard link through a link"},
      {entry(TarKind::kFile, ".", {}, "x"), "the destination itself"},
  };
  for (const auto& one : cases) {
    const auto done = extract(one.tar + tarEnd());
    ASSERT_FALSE(done) << one.why;
    EXPECT_EQ(done.error().fault, TreeFault::kOutside) << one.why << ": " << done.error().message;
    EXPECT_TRUE(fs::is_empty(root_ / "victim")) << one.why;
    EXPECT_FALSE(fs::exists(target() / "h")) << one.why;
  }
}

TEST_F(Trees, TellWhatIsWrongWithATar) {
  const std::string good = entry(TarKind::kFile, "f", {}, "data");
  std::string flipped = good + tarEnd();
  flipped[3] ^= 1;
  EXPECT_EQ(extract(flipped).error().fault, TreeFault::kMalformed);
  EXPECT_EQ(extract(good).error().fault, TreeFault::kMalformed) << "no end";
  EXPECT_EQ(extract(good.substr(0, 600)).error().fault, TreeFault::kMalformed) << "cut in the data";
  const auto told = extract(good + tarFailure("the disk is on fire"));
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().fault, TreeFault::kTold);
  EXPECT_EQ(told.error().message, "the disk is on fire");
  EXPECT_TRUE(extract(good + tarEnd() + std::string(8192, '\0')));
}

TEST_F(Trees, KeepHolesAndSizes) {
  const std::string zeros(1 << 20, '\0');
  ASSERT_TRUE(extract(entry(TarKind::kFile, "f", {}, zeros) + tarEnd(), {}, 65536));
  struct stat info{};
  ASSERT_EQ(::stat((target() / "f").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 1 << 20);
  EXPECT_LT(info.st_blocks * 512, 1 << 19);
}

TEST_F(Trees, EndAtTheLimitOfDepth) {
  fs::path deep = source();
  for (int i = 0; i < 300; ++i) deep /= "d";
  fs::create_directories(deep);
  const auto tar = pack(source(), TreePacker::Named::kByItsName);
  ASSERT_FALSE(tar);
  EXPECT_EQ(tar.error().fault, TreeFault::kTooDeep);
  std::string name = "d";
  for (int i = 0; i < 300; ++i) name += "/d";
  EXPECT_EQ(extract(entry(TarKind::kFile, name, {}, "x") + tarEnd()).error().fault, TreeFault::kTooDeep);
}

class Entries final : public TarSink {
 public:
  TreeResult<void> entry(const TarEntry& entry) override {
    all.push_back(entry);
    return {};
  }
  TreeResult<void> data(std::string_view) override { return {}; }
  TreeResult<void> entryEnd() override { return {}; }
  std::vector<TarEntry> all;
};

TEST(TarFormat, HoldsWhatUstarCannot) {
  const TarEntry entries[] = {
      {.kind = TarKind::kFile, .name = std::string(4'000, 'n'), .mode = 07777, .uid = 4'000'000'000, .gid = 3'000'000'000},
      {.kind = TarKind::kLink, .name = "l\n\xff", .linkTarget = std::string(4'000, '\xfe')},
      {.kind = TarKind::kFile, .name = "old", .modifiedSeconds = -3, .modifiedNanos = 250'000'000},
      {.kind = TarKind::kFile, .name = "young", .modifiedSeconds = 99'999'999'999'999, .modifiedNanos = 1},
      {.kind = TarKind::kDirectory, .name = "d", .modifiedSeconds = -1},
      {.kind = TarKind::kFile, .name = "=1 2=\n"},
  };
  for (const auto& entry : entries) {
    Entries sink;
    TarReader reader(sink);
    ASSERT_TRUE(reader.feed(tarHeader(entry)));
    ASSERT_EQ(sink.all.size(), 1U);
    EXPECT_EQ(sink.all.front(), entry) << entry.name.substr(0, 10);
  }
}

}  // namespace
}  // namespace gs

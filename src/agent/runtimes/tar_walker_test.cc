#include <gtest/gtest.h>

#include "agent/runtimes/image_archive.h"
#include "agent/runtimes/tar_walker.h"

namespace gs {
namespace {

std::string entry(std::string_view name, std::string_view content) {
  return tarHeader(name, content.size()) + std::string(content) + std::string(tarPadding(content.size()), '\0');
}
std::string extension(char type, std::string_view content) {
  std::string header = tarHeader("ext", content.size());
  header[156] = type;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  header.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return header + std::string(content) + std::string(tarPadding(content.size()), '\0');
}
std::string record(std::string_view key, std::string_view value) {
  const auto body = fmt::format(" {}={}\n", key, value);
  auto length = body.size() + 1;
  while (fmt::format("{}", length).size() + body.size() != length) ++length;
  return fmt::format("{}{}", length, body);
}
std::string ending() { return std::string(kTarEndBytes, '\0'); }

struct Seen final : TarWalker::Visitor {
  std::vector<std::pair<std::string, std::string>> files;
  std::string raw;
  Status begin(const TarEntry& e, std::string_view header) override {
    files.emplace_back(e.path, "");
    raw += header;
    return {};
  }
  Status content(std::string_view bytes) override {
    files.back().second += bytes;
    raw += bytes;
    return {};
  }
  Status end(std::string_view padding) override {
    raw += padding;
    return {};
  }
};

TEST(TarWalker, FindsTheSameInPiecesOfEverySize) {
  const std::string longName(300, 'n');
  const auto tar = entry("a", "first") + extension('x', record("path", longName)) + entry("short", std::string(1000, 'b')) +
                   extension('L', longName + "2") + entry("short", "") + ending();
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{512}, std::size_t{513}, tar.size()}) {
    Seen seen;
    TarWalker walker(seen);
    for (std::size_t at = 0; at < tar.size(); at += step) ASSERT_TRUE(walker.feed(std::string_view(tar).substr(at, step))) << step;
    EXPECT_TRUE(walker.finish());
    ASSERT_EQ(seen.files.size(), 3U) << step;
    EXPECT_EQ(seen.files[0], std::pair(std::string("a"), std::string("first")));
    EXPECT_EQ(seen.files[1], std::pair(longName, std::string(1000, 'b')));
    EXPECT_EQ(seen.files[2].first, longName + "2");
    EXPECT_EQ(seen.raw + ending(), tar) << "every byte but the end, as it was";
  }
}

struct Bad {
  std::string why;
  std::string tar;
};

TEST(TarWalker, RefusesWhatIsNoTarAndKeepsLittle) {
  auto wrongSum = entry("a", "x");
  wrongSum[0] = 'b';
  auto noNumber = entry("a", "x");
  noNumber.replace(124, 11, "not octal!!");
  const Bad rows[] = {
      {"a checksum that is wrong", wrongSum + ending()},
      {"a size that is none", noNumber + ending()},
      {"an extension header larger than any", extension('x', std::string(TarWalker::kMaxExtensionBytes + 1, 'x'))},
      {"records that are none", extension('x', "hello") + entry("a", "") + ending()},
      {"a record that is longer than the header", extension('x', "99 path=a\n") + entry("a", "") + ending()},
      {"an extension header without its entry", extension('x', record("path", "a")) + ending()},
      {"a size beyond reason", extension('x', record("size", "99999999999999999")) + entry("a", "") + ending()},
  };
  for (const auto& row : rows) {
    Seen seen;
    TarWalker walker(seen);
    const auto fed = walker.feed(row.tar);
    ASSERT_FALSE(fed) << row.why;
    EXPECT_EQ(fed.error().reason, "tar_malformed") << row.why;
  }
  Seen seen;
  TarWalker walker(seen);
  EXPECT_TRUE(walker.feed(entry("a", "x")));
  EXPECT_FALSE(walker.finish()) << "it ends before its end";
}

}  // namespace
}  // namespace gs

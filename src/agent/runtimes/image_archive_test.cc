#include "agent/runtimes/image_archive.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace gs {
namespace {

TEST(TarHeader, HasTheUstarFieldsInTheirPlaces) {
  const auto block = tarHeader("manifest.json", 1234);
  ASSERT_EQ(block.size(), kTarBlockBytes);
  EXPECT_STREQ(block.c_str(), "manifest.json");
  EXPECT_EQ(block.substr(100, 8), std::string("0000600\0", 8));
  EXPECT_EQ(block.substr(124, 12), std::string("00000002322\0", 12));
  EXPECT_EQ(block[156], '0');
  EXPECT_EQ(block.substr(257, 8), std::string("ustar\00000", 8));
}

TEST(TarHeader, WritesSizesPastEightGibibytesInBase256) {
  const auto block = tarHeader("x", (1ULL << 33) + 5);
  EXPECT_EQ(block.substr(124, 12), std::string("\x80\0\0\0\0\0\0\x02\0\0\0\x05", 12));
  EXPECT_EQ(tarHeader("x", (1ULL << 33) - 1).substr(124, 12), std::string("77777777777\0", 12));
}

TEST(TarHeader, ChecksumIsTheSumWithItsOwnFieldAsSpaces) {
  auto block = tarHeader("x", 0);
  const auto stated = std::strtoul(block.substr(148, 6).c_str(), nullptr, 8);
  for (int i = 148; i < 156; ++i) block[i] = ' ';
  unsigned long sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  EXPECT_EQ(stated, sum);
}

TEST(TarPadding, FillsUpToTheNextBlock) {
  EXPECT_EQ(tarPadding(0), 0u);
  EXPECT_EQ(tarPadding(1), 511u);
  EXPECT_EQ(tarPadding(511), 1u);
  EXPECT_EQ(tarPadding(512), 0u);
  EXPECT_EQ(tarPadding(513), 511u);
}

TEST(ArchiveManifest, NamesOneImageWithItsTagAndLayersInOrder) {
  const auto config = Digest::of("config"), a = Digest::of("a"), b = Digest::of("b");
  EXPECT_EQ(archiveManifest(config, "gstacks.local/blueprint:abc", {a, b, a}),
            "[{\"Config\":\"" + config.hex() + ".json\",\"RepoTags\":[\"gstacks.local/blueprint:abc\"],\"Layers\":[\"" +
                a.hex() + "/layer.tar\",\"" + b.hex() + "/layer.tar\",\"" + a.hex() + "/layer.tar\"]}]");
}

}  // namespace
}  // namespace gs

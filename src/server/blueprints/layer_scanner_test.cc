#include "server/blueprints/layer_scanner.h"

#include <gtest/gtest.h>

#include "server/blueprints/gzip_decoder.h"
#include "server/blueprints/test_archive.h"

namespace gs {
namespace {

using namespace gs::testing;

// In pieces of every awkward size: what is found must not depend on how the bytes arrive.
Status scan(const std::string& tar, std::size_t piece) {
  LayerScanner scanner;
  for (std::size_t at = 0; at < tar.size(); at += piece) {
    if (auto status = scanner.feed(std::string_view(tar).substr(at, piece)); !status) return status;
  }
  return scanner.finish();
}

std::string withField(std::string header, std::size_t offset, std::string_view text) {
  std::memcpy(header.data() + offset, text.data(), text.size());
  std::memset(header.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(header[i]);
  std::memcpy(header.data() + 148, fmt::format("{:06o}", sum).c_str(), 7);
  return header;
}

struct Row {
  std::string why;
  std::string tar;
  std::string reason;  // empty: fine
};

TEST(LayerScanner, JudgesEveryKindOfEntry) {
  const std::string end(1024, '\0');
  const auto sparse = [&](char extended) {
    auto header = withField(tarEntry({"sparse", std::string(512, 'd'), 'S', ""}), 482, std::string(1, extended));
    return header.substr(0, 512);
  };
  const std::vector<Row> rows{
      {"nothing at all", "", ""},
      {"an empty layer", end, ""},
      {"no end mark", tarEntry({"a", "b"}), ""},
      {"files, links, a fifo", tarOf({{"a", "b"}, {"l", "", '2', "../../etc"}, {"h", "", '1', "a"}, {"f", "", '6', ""}}), ""},
      {"a leading slash is relative to the root", tarOf({{"/a", "b"}}), ""},
      {"dots that do not climb", tarOf({{"./a..b/...", "b"}}), ""},
      {"whiteouts", tarOf({{"a/.wh..wh..opq", ""}}), ""},
      {"a GNU long name", tarEntry({"././@LongLink", std::string(300, 'n') + '\0', 'L', ""}) + tarOf({{"n", "b"}}), ""},
      {"pax names and unknown records", paxHeader({{"path", "long"}, {"SCHILY.xattr.user.x", std::string("\0\1", 2)}}) + tarOf({{"n", "b"}}), ""},
      {"a pax size", paxHeader({{"size", "3"}}) + withField(tarEntry({"n", "abc"}), 124, "00000000000") + end, ""},
      {"a base-256 size", withField(tarEntry({"n", "abc"}), 124, std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12)) + end, ""},
      {"a link with a size has no content", withField(tarEntry({"l", "", '2', "x"}), 124, "00000000777") + end, ""},
      {"an old sparse file", sparse('\0') + std::string(512, 'd') + end, ""},
      {"one with a longer map", sparse('\1') + std::string(512, '\0') + std::string(512, 'd') + end, ""},
      {"climbs", tarOf({{"a/../../b", ""}}), "archive_unsafe_path"},
      {"climbs at the end", tarOf({{"a/..", ""}}), "archive_unsafe_path"},
      {"climbs in the prefix", withField(tarEntry({"a", ""}), 345, "../..") + end, "archive_unsafe_path"},
      {"climbs in a GNU long name", tarEntry({"././@LongLink", "../x", 'L', ""}) + tarOf({{"n", "b"}}), "archive_unsafe_path"},
      {"climbs in pax", paxHeader({{"path", "x/../y"}}) + tarOf({{"n", "b"}}), "archive_unsafe_path"},
      {"climbs in a sparse pax name", paxHeader({{"GNU.sparse.name", "../y"}}) + tarOf({{"n", "b"}}), "archive_unsafe_path"},
      {"NUL in pax", paxHeader({{"path", std::string("x\0y", 3)}}) + tarOf({{"n", "b"}}), "archive_unsafe_path"},
      {"a hard link that climbs", tarOf({{"h", "", '1', "../x"}}), "archive_unsafe_path"},
      {"a hard link that climbs in pax", paxHeader({{"linkpath", "../x"}}) + tarOf({{"h", "", '1', "ok"}}), "archive_unsafe_path"},
      {"a hard link that climbs in a long link", tarEntry({"././@LongLink", "../x", 'K', ""}) + tarOf({{"h", "", '1', "ok"}}), "archive_unsafe_path"},
      {"a device", tarOf({{"d", "", '3', ""}}), "archive_unsafe_entry"},
      {"a kind that nobody knows", tarOf({{"d", "", 'V', ""}}), "archive_unsafe_entry"},
      {"an extended header without end", withField(tarEntry({"x", "", 'x', ""}), 124, "77777777777"), "archive_unsafe_entry"},
      {"a damaged pax record", tarEntry({"x", "99999 path=x\n", 'x', ""}) + end, "archive_not_an_image"},
      {"a wrong checksum", std::string(512, 'a') + end, "archive_not_an_image"},
      {"a negative size", withField(tarEntry({"n", ""}), 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") + end, "archive_not_an_image"},
      {"goes on after one zero block", tarEntry({"a", ""}) + std::string(512, '\0') + tarEntry({"b", ""}), "archive_not_an_image"},
      {"cut in a header", tarEntry({"a", "b"}).substr(0, 300), "archive_truncated"},
      {"cut in a file", tarEntry({"a", std::string(2000, 'b')}).substr(0, 1024), "archive_truncated"},
      {"cut after an extended header", paxHeader({{"path", "x"}}), "archive_truncated"},
  };
  for (const auto& row : rows) {
    for (const std::size_t piece : {1, 511, 512, 513, 1 << 20}) {
      SCOPED_TRACE(fmt::format("{} in pieces of {}", row.why, piece));
      const auto status = scan(row.tar, piece);
      EXPECT_EQ(status ? "" : status.error().reason, row.reason) << (status ? "" : status.error().describe());
    }
  }
}

TEST(GzipDecoder, ReadsSeveralMembersInPiecesOfAnySize) {
  const std::string text(300'000, 'a');
  const auto packed = gzipOf(text) + gzipOf("tail");
  for (const std::size_t piece : {1, 100, 1 << 20}) {
    GzipDecoder decoder;
    std::string out;
    for (std::size_t at = 0; at < packed.size(); at += piece) {
      ASSERT_TRUE(decoder.feed(std::string_view(packed).substr(at, piece), [&](std::string_view part) -> Status {
        out += part;
        return {};
      }));
    }
    EXPECT_TRUE(decoder.finish());
    EXPECT_EQ(out, text + "tail");
  }
}

TEST(GzipDecoder, TellsDamageFromAnEarlyEnd) {
  const auto sink = [](std::string_view) -> Status { return {}; };
  auto packed = gzipOf(std::string(1000, 'x') + "y");
  GzipDecoder cut;
  ASSERT_TRUE(cut.feed(std::string_view(packed).substr(0, packed.size() - 3), sink));
  EXPECT_EQ(cut.finish().error().reason, "archive_truncated");
  packed[packed.size() - 6] = static_cast<char>(packed[packed.size() - 6] ^ 1);
  GzipDecoder damaged;
  EXPECT_FALSE(damaged.feed(packed, sink)) << "the checksum is wrong";
}

}  // namespace
}  // namespace gs

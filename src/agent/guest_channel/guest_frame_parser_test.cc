#include <gtest/gtest.h>

#include "wire/guest_frames.h"

namespace gs {
namespace {

std::string lengthOf(std::size_t length) {
  std::string bytes(kGuestFrameHeaderBytes, '\0');
  putGuestFrameLength(bytes.data(), length);
  return bytes;
}

std::vector<std::string> drain(GuestFrameParser& parser) {
  std::vector<std::string> frames;
  while (const auto frame = parser.next()) frames.emplace_back(*frame);
  return frames;
}

struct ParserRow {
  std::string_view reason;
  std::string bytes;
  std::vector<std::string> frames;
  bool broken;
  std::size_t pending;
};

TEST(GuestFrameParser, Table) {
  const std::string largest(kMaxGuestFrameBytes, 'x');
  const ParserRow rows[] = {
      {"nothing", "", {}, false, 0},
      {"half a length", std::string("\0\0", 2), {}, false, 2},
      {"an empty frame is a frame", lengthOf(0), {""}, false, 0},
      {"one", lengthOf(3) + "abc", {"abc"}, false, 0},
      {"one and a half", lengthOf(1) + "a" + lengthOf(2) + "b", {"a"}, false, 5},
      {"as long as allowed", lengthOf(largest.size()) + largest, {largest}, false, 0},
      {"one byte longer", lengthOf(kMaxGuestFrameBytes + 1), {}, true, 4},
      {"the largest length", "\xff\xff\xff\xff", {}, true, 4},
      {"frames before the long one are given", lengthOf(1) + "a" + lengthOf(1U << 30), {"a"}, true, 4},
      {"nothing after it is", lengthOf(1U << 31) + lengthOf(1) + "a", {}, true, 9},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    GuestFrameParser parser;
    parser.feed(row.bytes);
    EXPECT_EQ(drain(parser), row.frames);
    EXPECT_EQ(parser.broken(), row.broken);
    EXPECT_EQ(parser.pendingBytes(), row.pending);
    if (row.broken) {
      parser.feed(lengthOf(1) + "z");
      EXPECT_TRUE(drain(parser).empty()) << "a broken parser stays broken";
    }
  }
}

TEST(GuestFrameParser, GivesTheSameFramesHoweverTheBytesAreSplit) {
  const std::vector<std::string> frames{"", "a", std::string(300, 'b'), "", std::string("\0\0\0\1", 4), "end"};
  std::string bytes;
  for (const auto& frame : frames) bytes += makeGuestFrame(frame);
  for (std::size_t at = 0; at <= bytes.size(); ++at) {
    GuestFrameParser parser;
    parser.feed(std::string_view(bytes).substr(0, at));
    auto got = drain(parser);
    parser.feed(std::string_view(bytes).substr(at));
    for (auto& frame : drain(parser)) got.push_back(std::move(frame));
    ASSERT_EQ(got, frames) << "split at " << at;
  }
  GuestFrameParser parser;
  std::vector<std::string> got;
  for (const char byte : bytes) {
    parser.feed({&byte, 1});
    for (auto& frame : drain(parser)) got.push_back(std::move(frame));
  }
  EXPECT_EQ(got, frames);
}

TEST(GuestFrameParser, AsksForNoMoreThanAFrameAndARead) {
  GuestFrameParser parser;
  // A peer that fills whatever it is given with the start of the largest frame.
  auto space = parser.prepare();
  std::memcpy(space.data(), lengthOf(kMaxGuestFrameBytes).data(), kGuestFrameHeaderBytes);
  parser.commit(space.size());
  std::size_t most = 0;
  for (int i = 0; i < 50; ++i) {
    while (const auto frame = parser.next()) EXPECT_LE(frame->size(), kMaxGuestFrameBytes);
    if (parser.broken()) break;
    space = parser.prepare();
    most = std::max(most, parser.pendingBytes() + space.size());
    std::memset(space.data(), 0, space.size());
    parser.commit(space.size());
  }
  EXPECT_LE(most, 2 * kMaxGuestFrameBytes + kGuestFrameHeaderBytes);
}

}  // namespace
}  // namespace gs

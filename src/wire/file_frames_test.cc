#include "wire/file_frames.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "globalstacks/guest/v1/files.pb.h"

namespace gs {
namespace {

namespace pb = globalstacks::guest::v1;

std::string goldenPath(const std::string& name) { return std::string(GS_SOURCE_DIR) + "/tests/golden/files/" + name + ".bin"; }

void expectGolden(const std::string& name, const std::string& bytes) {
  if (std::getenv("GS_UPDATE_GOLDEN") != nullptr) std::ofstream(goldenPath(name), std::ios::binary) << bytes;
  std::ifstream file(goldenPath(name), std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), bytes) << name;
}

pb::FileFrame infoFrame() {
  pb::FileFrame frame;
  auto& info = *frame.mutable_info();
  info.set_name("n\n\xff");
  info.set_type(pb::FILE_TYPE_LINK);
  info.set_size_bytes(5'000'000'000);
  info.set_mode(04755);
  info.set_uid(1000);
  info.set_gid(4'000'000'000);
  info.set_modified_seconds(-1);
  info.set_modified_nanos(999'999'999);
  info.set_link_target("../\xfe");
  info.set_version("1-2a-3f");
  info.set_sha256(std::string(32, '\x80'));
  info.set_size_unknown(true);
  return frame;
}

pb::FileFrame entryFrame() {
  pb::FileFrame frame;
  *frame.mutable_entry() = infoFrame().info();
  return frame;
}

pb::FileFrame doneFrame() {
  pb::FileFrame frame;
  frame.mutable_done()->set_entries(3);
  frame.mutable_done()->set_bytes(5'000'000'000);
  frame.mutable_done()->set_more(true);
  return frame;
}

TEST(FileFrames, RequestsAreAsRecorded) {
  const std::string path = "/a\n\xff";
  expectGolden("stat", encode(FileRequest{path, StatFile{true, 77}}));
  expectGolden("list", encode(FileRequest{path, ListDirectory{"after\xff", 1'000}}));
  expectGolden("read", encode(FileRequest{path, ReadFile{5'000'000'000, 6, "1-2"}}));
  expectGolden("write", encode(FileRequest{path, WriteFile{"key", 1, 2, 04755, 3, 4, FileTime{-5, 6}}}));
  expectGolden("write.defaults", encode(FileRequest{path, WriteFile{}}));
  expectGolden("remove", encode(FileRequest{path, RemoveFile{true}}));
  expectGolden("make_directory", encode(FileRequest{path, MakeDirectory{01777, true}}));
  expectGolden("read_tree", encode(FileRequest{path, ReadTree{true}}));
  expectGolden("write_tree", encode(FileRequest{path, WriteTree{}}));
  expectGolden("data", encodeFileData(std::string("d\0\xff", 3)));
  expectGolden("end", encodeFileEnd());
  expectGolden("error", encodeFileError(makeError(ErrorCode::kFailedPrecondition, "it is stopped").withReason("sandbox_not_running")));
  expectGolden("info", infoFrame().SerializeAsString());
  expectGolden("entry", entryFrame().SerializeAsString());
  expectGolden("done", doneFrame().SerializeAsString());
}

// The frame and the request are one of several each: every one of them has a file.
TEST(FileFrames, EveryFrameOfTheContractIsRecorded) {
  std::ifstream file(std::string(GS_SOURCE_DIR) + "/proto/globalstacks/guest/v1/files.proto");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::regex choice(R"(\n    \w+ (\w+) = \d+;)");
  std::size_t found = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), choice), end; it != end; ++it) {
    const std::string name = (*it)[1];
    if (name == "request") continue;  // the frame around each of the operations
    ++found;
    EXPECT_TRUE(std::filesystem::exists(goldenPath(name))) << name;
  }
  EXPECT_EQ(found, 14U);
}

TEST(FileFrames, AnswersDecodeToTheirValues) {
  const auto answer = decodeFileAnswer(infoFrame().SerializeAsString());
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_EQ(std::get<FileInfo>(*answer), (FileInfo{.name = "n\n\xff",
                                                   .type = FileType::kLink,
                                                   .sizeBytes = 5'000'000'000,
                                                   .mode = 04755,
                                                   .uid = 1000,
                                                   .gid = 4'000'000'000,
                                                   .modified = {-1, 999'999'999},
                                                   .linkTarget = "../\xfe",
                                                   .version = "1-2a-3f",
                                                   .sha256 = std::string(32, '\x80'),
                                                   .sizeUnknown = true}));
  EXPECT_EQ(std::get<FileEntry>(*decodeFileAnswer(entryFrame().SerializeAsString())).info, std::get<FileInfo>(*answer));
  const auto done = std::get<FileDone>(*decodeFileAnswer(doneFrame().SerializeAsString()));
  EXPECT_EQ(done.entries, 3U);
  EXPECT_EQ(done.bytes, 5'000'000'000U);
  EXPECT_TRUE(done.more);
  const auto error = decodeFileAnswer(encodeFileError(makeError(ErrorCode::kResourceExhausted, "32 run").withReason("too_many")));
  EXPECT_EQ(std::get<Error>(*error).code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(std::get<Error>(*error).reason, "too_many");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(*decodeFileAnswer("")));
}

TEST(FileFrames, WhatAGuestMayNotSayIsRefused) {
  const auto with = [](auto change) {
    auto frame = infoFrame();
    change(*frame.mutable_info());
    return decodeFileAnswer(frame.SerializeAsString());
  };
  const std::pair<Result<FileAnswer>, std::string_view> cases[] = {
      {with([](auto& i) { i.set_name(""); }), "no name"},
      {with([](auto& i) { i.set_name("a/b"); }), "a name that is a path"},
      {with([](auto& i) { i.set_name(std::string("a\0b", 3)); }), "a zero byte"},
      {with([](auto& i) { i.set_name(std::string(1'025, 'n')); }), "a long name"},
      {with([](auto& i) { i.set_link_target(std::string(4'096, 'n')); }), "a long target"},
      {with([](auto& i) { i.set_version("\r\nEvil: yes"); }), "a version that would be another header"},
      {with([](auto& i) { i.set_version(std::string(81, 'a')); }), "a long version"},
      {with([](auto& i) { i.set_sha256("short"); }), "half a digest"},
      {with([](auto& i) { i.set_mode(010000); }), "a mode with a type"},
      {with([](auto& i) { i.set_modified_nanos(1'000'000'000); }), "a second of nanoseconds"},
      {with([](auto& i) { i.set_size_bytes(~std::uint64_t{0}); }), "a size below zero"},
      {decodeFileAnswer(encodeFileEnd()), "a frame of the server's"},
      {decodeFileAnswer(encode(FileRequest{"/", RemoveFile{true}})), "a request"},
      {decodeFileAnswer(encodeFileData("")), "no data"},
      {decodeFileAnswer("\xff"), "no frame"},
      {decodeFileAnswer(std::string(kMaxFileFrame + 1, '\0')), "a large one"},
  };
  for (const auto& [answer, why] : cases) {
    ASSERT_FALSE(answer) << why;
    EXPECT_EQ(answer.error().code, ErrorCode::kDataLoss) << why;
  }
}

TEST(FileFrames, TimesAreReadAsTheyAreWritten) {
  for (const FileTime time : {FileTime{0, 0}, FileTime{1'767'323'045, 123'456'789}, FileTime{-1, 999'999'999}, FileTime{253'402'300'799, 1}}) {
    EXPECT_EQ(parseFileTime(fileTimeText(time)).value(), time) << fileTimeText(time);
  }
  EXPECT_EQ(fileTimeText({1'767'323'045, 5}), "2026-01-02T03:04:05.000000005Z");
  EXPECT_EQ(fileTimeText({1LL << 60, 0}), "9999-12-31T23:59:59.000000000Z");
  EXPECT_EQ(parseFileTime("2026-01-02T03:04:05.5Z").value(), (FileTime{1'767'323'045, 500'000'000}));
  for (const char* text : {"", "Z", "2026-01-02", "2026-02-30T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05.Z",
                           "2026-01-02T03:04:05.1234567890Z", "2026-01-02T03:04:05+01:00", "2026-01-02 03:04:05Z"}) {
    EXPECT_FALSE(parseFileTime(text)) << text;
  }
}

}  // namespace
}  // namespace gs

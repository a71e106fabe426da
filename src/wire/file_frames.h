// The frames of file operations as plain values: proto/globalstacks/guest/v1/files.proto, which says what each means.
//
// decode… takes what a hostile guest sent: every text, number and name is bounded, and no claim beyond that is believed.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace gs {

inline constexpr std::size_t kMaxFileFrame = 64 * 1024;
inline constexpr std::size_t kMaxFileData = kMaxFileFrame - 64;
inline constexpr std::size_t kMaxFilePath = 4'095;
inline constexpr std::size_t kMaxListedFiles = 1'000;

enum class FileType : std::uint8_t { kUnknown, kRegular, kDirectory, kLink, kFifo, kSocket, kCharacterDevice, kBlockDevice };
[[nodiscard]] std::string_view fileTypeText(FileType type);  // "file", "directory", "link", …

// Since 1970; nanos count upwards also before it.
struct FileTime {
  std::int64_t seconds = 0;
  std::uint32_t nanos = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};
// "2026-01-02T03:04:05.123456789Z"; years 0000 to 9999, others are cut to the nearest.
[[nodiscard]] std::string fileTimeText(FileTime time);
// The same form, with 0 to 9 digits of fraction. kInvalidArgument.
[[nodiscard]] Result<FileTime> parseFileTime(std::string_view text);

struct FileInfo {
  std::string name;  // bytes
  FileType type = FileType::kUnknown;
  std::uint64_t sizeBytes = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  FileTime modified;
  std::string linkTarget{};  // bytes
  std::string version{};     // [0-9a-f-]
  std::string sha256{};      // 32 bytes, or empty
  bool sizeUnknown = false;
  friend bool operator==(const FileInfo&, const FileInfo&) = default;
};

struct StatFile {
  bool follow = false;
  std::uint64_t digestBytes = 0;
};
struct ListDirectory {
  std::string after;
  std::uint32_t limit = 0;
};
struct ReadFile {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string version;
};
struct WriteFile {
  std::string key;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> sizeBytes;
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<FileTime> modified;
};
struct RemoveFile {
  bool recursive = false;
};
struct MakeDirectory {
  std::uint32_t mode = 0755;
  bool parents = false;
};
struct ReadTree {
  bool contents = false;
};
struct WriteTree {};

struct FileRequest {
  std::string path;  // bytes
  std::variant<StatFile, ListDirectory, ReadFile, WriteFile, RemoveFile, MakeDirectory, ReadTree, WriteTree> operation;
};

struct FileData {
  std::string bytes;
};
struct FileEntry {
  FileInfo info;
};
struct FileDone {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  bool more = false;
};
// monostate: a frame of a newer guest, to be passed over.
using FileAnswer = std::variant<std::monostate, FileData, FileInfo, FileEntry, FileDone, Error>;

[[nodiscard]] std::string encode(const FileRequest& request);
[[nodiscard]] std::string encodeFileData(std::string_view bytes);  // at most kMaxFileData
[[nodiscard]] std::string encodeFileEnd();
// For the agent: an operation that cannot begin.
[[nodiscard]] std::string encodeFileError(const Error& error);

// kDataLoss: no frame, or a value outside of what the contract allows. An Error inside is the operation's own.
[[nodiscard]] Result<FileAnswer> decodeFileAnswer(std::string_view bytes);

}  // namespace gs

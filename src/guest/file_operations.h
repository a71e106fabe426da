// What each operation of files.proto does. In the worker process only; blocking.
//
// Each sends its own answers but the last: `done`, or the error, is sent by who calls.
#pragma once

#include "guest/file_connection.h"
#include "trees/safe_file.h"

namespace gs::guest {

using FileKind = globalstacks::guest::v1::FileError::Kind;
struct FileFailure {
  FileKind kind;
  std::string message;
};
template <class T>
using FileResult = std::expected<T, FileFailure>;
using FileDone = globalstacks::guest::v1::FileDone;

[[nodiscard]] FileResult<FileDone> carryOut(FileConnection& connection, const globalstacks::guest::v1::FileRequest& request);

// Shared by the sources of this folder.
[[nodiscard]] std::unexpected<FileFailure> fileFail(FileKind kind, std::string message);
[[nodiscard]] std::unexpected<FileFailure> fileFail(const TreeError& error);
[[nodiscard]] std::unexpected<FileFailure> systemFailure(int error, std::string_view doing, std::string_view name);
// "/a/b/" as "/a" and "b"; the root has no name.
struct SplitPath {
  std::string directory;
  std::string name;
};
[[nodiscard]] SplitPath splitPath(std::string_view path);
// The directory at that path, links in it followed.
[[nodiscard]] FileResult<OwnedFd> openDirectoryAt(const std::string& path);
void fillInfo(globalstacks::guest::v1::FileInfo& out, const struct stat& info, std::string_view name);

// file_write.cc
[[nodiscard]] FileResult<FileDone> writeFile(FileConnection& connection, const globalstacks::guest::v1::FileRequest& request);
[[nodiscard]] FileResult<FileDone> writeTree(FileConnection& connection, const globalstacks::guest::v1::FileRequest& request);
// file_remove.cc
[[nodiscard]] FileResult<FileDone> removeFile(const globalstacks::guest::v1::FileRequest& request);
[[nodiscard]] FileResult<FileDone> makeDirectory(FileConnection& connection, const globalstacks::guest::v1::FileRequest& request);

// What the agent closed before the operation was over: nobody hears it.
[[nodiscard]] std::unexpected<FileFailure> hungUp();

}  // namespace gs::guest

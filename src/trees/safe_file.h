// Opening, listing and writing single files where others may swap names under our hands.
//
// A file is first held by an O_PATH descriptor, which opens nothing, and only when it is a regular one reopened through
// /proc/self/fd: so a FIFO, device or socket is never opened, whatever a name is changed to meanwhile. Blocking.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "trees/owned_fd.h"
#include "trees/tree_error.h"

namespace gs {

enum class Links : std::uint8_t { kFollow, kRefuse };

// An O_PATH descriptor of `name` below `directory` (AT_FDCWD and an absolute path will do). kFollow: through links, but
// not the magic ones of /proc. kRefuse: the last part may be a link, which is then what is held.
[[nodiscard]] TreeResult<OwnedFd> holdPath(int directory, const std::string& name, Links links);
// Reopens what is held when it is a regular file; kNotAFile otherwise. `flags` as of open(2), without O_CREAT.
[[nodiscard]] TreeResult<OwnedFd> reopenRegular(const OwnedFd& held, int flags, std::string_view name);
[[nodiscard]] TreeResult<struct stat> statOf(const OwnedFd& fd, std::string_view name);
// "a FIFO", "a directory", for sentences.
[[nodiscard]] std::string_view fileTypeName(mode_t mode);

// The names in a directory, one after another, in the file system's order, without "." and "..". Memory: 8 KiB.
class DirectoryNames {
 public:
  // Takes a descriptor that was opened for reading.
  explicit DirectoryNames(OwnedFd directory) : directory_(std::move(directory)) {}
  // Empty at the end. Valid until the next call.
  [[nodiscard]] TreeResult<std::string_view> next();
  [[nodiscard]] int fd() const { return directory_.get(); }

 private:
  OwnedFd directory_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
};
// For DirectoryNames: a directory that is no link.
[[nodiscard]] TreeResult<OwnedFd> openDirectory(int parent, const std::string& name);

// Writes a file from its beginning (or from where it stands), leaving holes where whole pieces are zeros.
class HoleyWriter {
 public:
  explicit HoleyWriter(std::uint64_t offset = 0) : offset_(offset) {}
  [[nodiscard]] TreeResult<void> write(int fd, std::string_view bytes, std::string_view name);
  // Gives the file its length when it ends in a hole.
  [[nodiscard]] TreeResult<void> finish(int fd, std::string_view name);
  [[nodiscard]] std::uint64_t offset() const { return offset_; }

 private:
  std::uint64_t offset_;
  bool hole_ = false;
};

}  // namespace gs

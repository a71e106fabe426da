#include "trees/safe_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace gs {
namespace {

constexpr std::size_t kDirectoryBytes = 8 * 1024;
constexpr std::size_t kLeastHole = 4 * 1024;

// As the kernel lays it out; the C library gives no type for the raw call.
struct RawEntry {
  std::uint64_t inode;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
};
constexpr std::size_t kNameAt = 19;

bool allZero(std::string_view bytes) {
  return !bytes.empty() && bytes.front() == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

int openHeld(int directory, const char* name, int flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags);
  how.resolve = resolve;
  const auto fd = ::syscall(SYS_openat2, directory, name, &how, sizeof(how));
  // An old kernel, or a filter that does not know the call: what it adds is a second line of defence only.
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) return ::openat(directory, name, flags);
  return static_cast<int>(fd);
}

}  // namespace

TreeResult<OwnedFd> holdPath(int directory, const std::string& name, Links links) {
  const int flags = O_PATH | O_CLOEXEC | (links == Links::kRefuse ? O_NOFOLLOW : 0);
  OwnedFd fd(openHeld(directory, name.c_str(), flags, RESOLVE_NO_MAGICLINKS));
  if (!fd.isOpen()) return systemFail(errno, "find", name);
  return fd;
}

TreeResult<struct stat> statOf(const OwnedFd& fd, std::string_view name) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return systemFail(errno, "look at", name);
  return info;
}

std::string_view fileTypeName(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "a file";
    case S_IFDIR: return "a directory";
    case S_IFLNK: return "a link";
    case S_IFIFO: return "a FIFO";
    case S_IFSOCK: return "a socket";
    default: return "a device";
  }
}

TreeResult<OwnedFd> reopenRegular(const OwnedFd& held, int flags, std::string_view name) {
  const auto before = statOf(held, name);
  if (!before) return std::unexpected(before.error());
  if (!S_ISREG(before->st_mode)) {
    return treeFail(TreeFault::kNotAFile, quotedName(name) + " is " + std::string(fileTypeName(before->st_mode)) + ", not a regular file");
  }
  const std::string path = "/proc/self/fd/" + std::to_string(held.get());
  OwnedFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.isOpen()) return systemFail(errno, "open", name);
  // Something else mounted at /proc could have led us astray.
  const auto after = statOf(fd, name);
  if (!after) return std::unexpected(after.error());
  if (after->st_ino != before->st_ino || after->st_dev != before->st_dev) return systemFail(ESTALE, "open", name);
  return fd;
}

TreeResult<OwnedFd> openDirectory(int parent, const std::string& name) {
  OwnedFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd.isOpen()) return systemFail(errno, "open the directory", name);
  return fd;
}

TreeResult<std::string_view> DirectoryNames::next() {
  while (true) {
    if (at_ == end_) {
      if (buffer_.empty()) buffer_.resize(kDirectoryBytes);
      const auto count = ::syscall(SYS_getdents64, directory_.get(), buffer_.data(), buffer_.size());
      if (count < 0) return systemFail(errno, "read", "a directory");
      if (count == 0) return std::string_view();
      at_ = 0;
      end_ = static_cast<std::size_t>(count);
    }
    RawEntry entry{};
    std::memcpy(&entry, buffer_.data() + at_, kNameAt);
    const char* name = buffer_.data() + at_ + kNameAt;
    const std::string_view text(name, ::strnlen(name, entry.length - kNameAt));
    at_ += entry.length;
    if (text != "." && text != "..") return text;
  }
}

TreeResult<void> HoleyWriter::write(int fd, std::string_view bytes, std::string_view name) {
  if (bytes.size() >= kLeastHole && allZero(bytes)) {
    offset_ += bytes.size();
    hole_ = true;
    return {};
  }
  while (!bytes.empty()) {
    const auto count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset_));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return systemFail(count == 0 ? EIO : errno, "write", name);
    offset_ += static_cast<std::uint64_t>(count);
    bytes.remove_prefix(static_cast<std::size_t>(count));
    hole_ = false;
  }
  return {};
}

TreeResult<void> HoleyWriter::finish(int fd, std::string_view name) {
  if (!hole_) return {};
  hole_ = false;
  if (::ftruncate(fd, static_cast<off_t>(offset_)) != 0) return systemFail(errno, "extend", name);
  return {};
}

}  // namespace gs

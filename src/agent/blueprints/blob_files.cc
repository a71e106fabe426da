#include "agent/blueprints/blob_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace gs {
namespace {

std::unexpected<Error> failed(std::string_view what, const std::filesystem::path& path) {
  return fail(errnoError(errno, fmt::format("{} {}", what, path.string())));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

class DiskFile final : public BlobFile {
 public:
  DiskFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  Status write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const auto n = ::write(fd_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  Status sync() override {
    if (::fsync(fd_.get()) != 0) return failed("fsync", path_);
    return {};
  }

 private:
  Fd fd_;
  std::filesystem::path path_;
};

class DiskReader final : public BlobReader {
 public:
  DiskReader(int fd, std::uint64_t size, std::filesystem::path path) : fd_(fd), size_(size), path_(std::move(path)) {
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return size_; }
  Result<std::size_t> read(std::span<char> out) override {
    while (true) {
      const auto n = ::read(fd_.get(), out.data(), out.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return failed("read", path_);
    }
  }

 private:
  Fd fd_;
  std::uint64_t size_;
  std::filesystem::path path_;
};

class DiskFiles final : public BlobFiles {
 public:
  Status makeFolder(std::filesystem::path path) override {
    if (::mkdir(path.c_str(), 0700) == 0) return {};
    struct stat found{};
    if (errno == EEXIST && ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return {};
    return failed("mkdir", path);
  }
  Result<std::unique_ptr<BlobFile>> create(std::filesystem::path path) override {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return failed("create", path);
    return std::make_unique<DiskFile>(fd, std::move(path));
  }
  Result<std::unique_ptr<BlobReader>> open(std::filesystem::path path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return failed("open", path);
    struct stat found{};
    if (::fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) {
      ::close(fd);
      return fail(ErrorCode::kFailedPrecondition, path.string() + " is no regular file");
    }
    return std::make_unique<DiskReader>(fd, static_cast<std::uint64_t>(found.st_size), std::move(path));
  }
  Status moveInto(std::filesystem::path from, std::filesystem::path to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from);
    const Fd folder(::open(to.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || ::fsync(folder.get()) != 0) return failed("fsync", to.parent_path());
    return {};
  }
  Status remove(std::filesystem::path path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("unlink", path);
    return {};
  }
  Result<std::vector<std::string>> listFolder(std::filesystem::path path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (!folder) return failed("open", path);
    std::vector<std::string> names;
    errno = 0;
    while (const auto* entry = ::readdir(folder.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) return failed("read", path);
    return names;
  }
  Result<std::uint64_t> freeBytes(std::filesystem::path path) override {
    struct statvfs disk{};
    if (::statvfs(path.c_str(), &disk) != 0) return failed("statvfs", path);
    return static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  }
};

}  // namespace

std::unique_ptr<BlobFiles> makeDiskFiles() {
  return std::make_unique<DiskFiles>();
}

}  // namespace gs

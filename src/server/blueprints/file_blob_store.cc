#include "server/blueprints/file_blob_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>

#include "base/crash_point.h"
#include "base/encoding.h"
#include "base/log.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFlushBytes = 8 << 20;
constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr std::string_view kResumable = "resumable-";

bool isPlainName(std::string_view name) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  return !name.empty() && name.size() <= 200 && name.find_first_not_of(kPlain) == std::string_view::npos;
}

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

Error storeError(std::string_view what) {
  const int err = errno;
  auto error = errnoError(err, what);
  if (err != ENOSPC && err != EDQUOT) return error;
  return std::move(error).withReason("disk_full").withFix("free space in the server's data directory and try again");
}

Status syncDirectory(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail(storeError("sync a blob directory"));
  return {};
}

Status ensureDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return syncDirectory(fs::path(path).parent_path());
  if (errno == EEXIST) return {};
  return fail(storeError("make a blob directory"));
}

class FileStaged final : public StagedBlob {
 public:
  enum class Fate : std::uint8_t { kTemporary, kResumable };
  FileStaged(Fd fd, std::string path, Fate fate = Fate::kTemporary) : fd_(std::move(fd)), path_(std::move(path)), fate_(fate) {}
  ~FileStaged() override {
    if (fate_ == Fate::kTemporary) discard();
  }

  // Goes on after what is there.
  Status readBack() {
    std::string piece(kPieceBytes, '\0');
    while (true) {
      const ssize_t n = ::read(fd_.get(), piece.data(), piece.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(storeError("read a staged blob"));
      if (n == 0) break;
      hasher_.update(std::string_view(piece).substr(0, static_cast<std::size_t>(n)));
      size_ += static_cast<std::uint64_t>(n);
    }
    flushed_ = size_;
    return {};
  }

  Status append(std::string_view bytes) override {
    if (!digest_.empty()) return fail(ErrorCode::kFailedPrecondition, "the staged blob is complete");
    hasher_.update(bytes);
    size_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(storeError("write a staged blob"));
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    // Starts writing back while more comes in, or the fsync of a large layer would wait for all of it at the end.
    if (size_ - flushed_ >= kFlushBytes) {
      ::sync_file_range(fd_.get(), static_cast<off64_t>(flushed_), static_cast<off64_t>(size_ - flushed_), SYNC_FILE_RANGE_WRITE);
      flushed_ = size_;
    }
    return {};
  }
  Digest digest() override {
    if (!digest_.empty()) return digest_;
    digest_ = hasher_.finish();
    // An archive may have ten thousand entries staged at once: a complete one costs no descriptor.
    fd_ = Fd();
    return digest_;
  }
  std::uint64_t sizeBytes() const override { return size_; }
  Result<std::string> readAll(std::size_t limit) override {
    if (size_ > limit) {
      return fail(ErrorCode::kResourceExhausted, fmt::format("{} bytes where at most {} are allowed", size_, limit));
    }
    const Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return fail(storeError("read a staged blob"));
    std::string out(size_, '\0');
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(storeError("read a staged blob"));
      if (n == 0) return fail(ErrorCode::kDataLoss, "a staged blob became shorter");
      done += static_cast<std::size_t>(n);
    }
    return out;
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  void published() { path_.clear(); }
  void discard() {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }

 private:
  Fd fd_;
  std::string path_;  // empty: no longer ours
  Fate fate_;
  Hasher hasher_;
  Digest digest_;
  std::uint64_t size_ = 0;
  std::uint64_t flushed_ = 0;
};

class FileReader final : public BlobReader {
 public:
  FileReader(Fd fd, std::uint64_t size) : fd_(std::move(fd)), size_(size) {}
  std::uint64_t sizeBytes() const override { return size_; }
  Result<std::size_t> read(std::span<char> out) override {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - done_));
    if (want == 0) return std::size_t{0};
    ssize_t n = 0;
    do {
      n = ::read(fd_.get(), out.data(), want);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return fail(ErrorCode::kDataLoss, fmt::format("a blob cannot be read: {}", std::strerror(errno)));
    if (n == 0) return fail(ErrorCode::kDataLoss, "a blob is shorter than it was");
    done_ += static_cast<std::uint64_t>(n);
    return static_cast<std::size_t>(n);
  }

 private:
  Fd fd_;
  std::uint64_t size_;
  std::uint64_t done_ = 0;
};

}  // namespace

Result<std::shared_ptr<FileBlobStore>> FileBlobStore::open(const std::string& root) {
  for (const auto* part : {"", "/uploads", "/blobs", "/blobs/sha256"}) GS_CHECK(ensureDirectory(root + part));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root + "/uploads", error)) {
    if (entry.path().filename().string().starts_with(kResumable)) continue;
    std::error_code ignored;
    fs::remove(entry.path(), ignored);
  }
  if (error) return fail(errnoError(error.value(), "read the uploads directory"));
  return std::shared_ptr<FileBlobStore>(new FileBlobStore(root));
}

std::string FileBlobStore::directoryOf(const Digest& digest) const {
  return fmt::format("{}/blobs/sha256/{}", root_, digest.hex().substr(0, 2));
}
std::string FileBlobStore::pathOf(const Digest& digest) const {
  return fmt::format("{}/{}", directoryOf(digest), digest.hex());
}

Result<std::unique_ptr<StagedBlob>> FileBlobStore::stage() {
  std::string path = fmt::format("{}/uploads/{}", root_, randomIdChars(26));
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(storeError("create a staged blob"));
  return std::make_unique<FileStaged>(std::move(fd), std::move(path));
}

std::string FileBlobStore::resumablePath(const std::string& name) const {
  return fmt::format("{}/uploads/{}{}", root_, kResumable, name);
}

Result<std::unique_ptr<StagedBlob>> FileBlobStore::resume(const std::string& name) {
  if (!isPlainName(name)) return fail(ErrorCode::kInvalidArgument, "that is no name for a staged blob");
  std::string path = resumablePath(name);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail(storeError("open a staged blob"));
  auto staged = std::make_unique<FileStaged>(std::move(fd), std::move(path), FileStaged::Fate::kResumable);
  GS_CHECK(staged->readBack());
  return staged;
}

Result<std::uint64_t> FileBlobStore::resumableBytes(const std::string& name) {
  if (!isPlainName(name)) return fail(ErrorCode::kInvalidArgument, "that is no name for a staged blob");
  struct stat info {};
  if (::lstat(resumablePath(name).c_str(), &info) == 0) return static_cast<std::uint64_t>(info.st_size);
  if (errno == ENOENT) return std::uint64_t{0};
  return fail(storeError("look at a staged blob"));
}

Status FileBlobStore::discardResumable(const std::string& name) {
  if (!isPlainName(name)) return fail(ErrorCode::kInvalidArgument, "that is no name for a staged blob");
  if (::unlink(resumablePath(name).c_str()) != 0 && errno != ENOENT) return fail(storeError("remove a staged blob"));
  return {};
}

Result<std::vector<std::string>> FileBlobStore::resumables() {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ + "/uploads", error)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(kResumable)) out.push_back(name.substr(kResumable.size()));
  }
  if (error) return fail(errnoError(error.value(), "read the uploads directory"));
  return out;
}

Result<std::uint64_t> FileBlobStore::freeBytes() {
  struct statvfs disk {};
  if (::statvfs(root_.c_str(), &disk) != 0) return fail(storeError("look at the disk"));
  return static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
}

Status FileBlobStore::publish(StagedBlob& blob) {
  auto& staged = dynamic_cast<FileStaged&>(blob);
  const Digest digest = staged.digest();
  const std::string path = pathOf(digest);
  {
    const std::lock_guard lock(publishing_);
    // Touched under the lock, so that a sweep that is under way takes it for new.
    if (::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) {
      staged.discard();
      return {};
    }
  }
  crashPoint("blob.publish.begin");
  const Fd fd(::open(staged.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || ::fchmod(fd.get(), 0400) != 0 || ::fsync(fd.get()) != 0) return fail(storeError("sync a blob"));
  GS_CHECK(ensureDirectory(directoryOf(digest)));
  {
    const std::lock_guard lock(publishing_);
    if (::rename(staged.path().c_str(), path.c_str()) != 0) return fail(storeError("publish a blob"));
    staged.published();
  }
  crashPoint("blob.publish.renamed");
  return syncDirectory(directoryOf(digest));
}

Result<std::unique_ptr<BlobReader>> FileBlobStore::open(const Digest& digest) {
  if (digest.empty()) return fail(ErrorCode::kNotFound, "no such blob");
  Fd fd(::open(pathOf(digest).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return fail(ErrorCode::kNotFound, fmt::format("no blob {}", digest.text()));
  if (!fd) return fail(storeError("open a blob"));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail(storeError("open a blob"));
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kDataLoss, fmt::format("blob {} is not a file", digest.text()));
  // Blobs are read once from begin to end.
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::make_unique<FileReader>(std::move(fd), static_cast<std::uint64_t>(info.st_size));
}

Result<std::size_t> FileBlobStore::removeUnused(const std::vector<Digest>& live, WallTime olderThan) {
  std::size_t removed = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(root_ + "/blobs/sha256", error), end; !error && it != end;
       it.increment(error)) {
    const auto digest = Digest::parse("sha256:" + it->path().filename().string());
    if (!digest || std::binary_search(live.begin(), live.end(), *digest)) continue;
    const std::lock_guard lock(publishing_);
    struct stat info {};
    if (::stat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    const WallTime changed(Millis(static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000));
    if (changed >= olderThan) continue;
    if (::unlink(it->path().c_str()) == 0) {
      ++removed;
    } else {
      logWarn("blob_not_removed", {{"digest", digest->text()}, {"error", std::strerror(errno)}});
    }
  }
  if (error) return fail(errnoError(error.value(), "walk the blobs"));
  return removed;
}

}  // namespace gs

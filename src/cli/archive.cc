#include "cli/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/encoding.h"
#include "cli/config_file.h"

namespace gs::cli {

Result<Archive> Archive::open(const std::string& path) {
  const int fd = path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(fileError(errno, "--archive: cannot open " + path));
  Archive archive(fd, std::nullopt);
  struct stat info{};
  if (::fstat(fd, &info) != 0) return fail(fileError(errno, "--archive: cannot look at " + path));
  if (S_ISDIR(info.st_mode)) {
    return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("--archive: {} is a directory", path))
                    .withFix("make a tar of it, or use docker save -o image.tar IMAGE"));
  }
  if (!S_ISREG(info.st_mode)) return archive;
  // Standard input may be a file that stands somewhere else than at its beginning.
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  if (at != 0) return archive;
  if (info.st_size == 0) return fail(ErrorCode::kInvalidArgument, fmt::format("--archive: {} is empty", path));
  archive.sizeBytes_ = static_cast<std::uint64_t>(info.st_size);
  return archive;
}

Archive::Archive(Archive&& other) noexcept : fd_(std::exchange(other.fd_, -1)), sizeBytes_(other.sizeBytes_) {}

Archive::~Archive() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Digest> Archive::hash(const std::function<void(std::uint64_t done)>& progress) {
  static_cast<void>(::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL));  // a hint
  Hasher hasher;
  std::string buffer(1 << 20, '\0');
  std::uint64_t done = 0;
  while (true) {
    const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(fileError(errno, "cannot read the archive"));
    if (got == 0) break;
    hasher.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(got)));
    done += static_cast<std::uint64_t>(got);
    progress(done);
  }
  if (sizeBytes_ && done != *sizeBytes_) return fail(ErrorCode::kAborted, "the archive changed while it was read");
  if (::lseek(fd_, 0, SEEK_SET) != 0) return fail(fileError(errno, "cannot rewind the archive"));
  return hasher.finish();
}

std::string contentDigestHeader(const Digest& digest) {
  return fmt::format("sha-256=:{}:", toBase64(digest.raw()));
}

}  // namespace gs::cli

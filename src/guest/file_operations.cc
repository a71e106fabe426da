#include "guest/file_operations.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <set>

#include "guest/sha256.h"
#include "trees/tree_packer.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::size_t kMaxPath = 4'095;
constexpr std::uint32_t kMaxListed = 1'000;

pb::FileType typeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return pb::FILE_TYPE_REGULAR;
    case S_IFDIR: return pb::FILE_TYPE_DIRECTORY;
    case S_IFLNK: return pb::FILE_TYPE_LINK;
    case S_IFIFO: return pb::FILE_TYPE_FIFO;
    case S_IFSOCK: return pb::FILE_TYPE_SOCKET;
    case S_IFCHR: return pb::FILE_TYPE_CHARACTER_DEVICE;
    case S_IFBLK: return pb::FILE_TYPE_BLOCK_DEVICE;
    default: return pb::FILE_TYPE_UNSPECIFIED;
  }
}

std::string versionOf(const struct stat& info) {
  char text[96];
  std::snprintf(text, sizeof(text), "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "%08lx-%" PRIx64 "%08lx", static_cast<std::uint64_t>(info.st_ino),
                static_cast<std::uint64_t>(info.st_size), static_cast<std::uint64_t>(info.st_mtim.tv_sec), info.st_mtim.tv_nsec,
                static_cast<std::uint64_t>(info.st_ctim.tv_sec), info.st_ctim.tv_nsec);
  return text;
}

// Files that the kernel makes up as they are read say nothing true about their size.
bool isMadeUp(int fd) {
  constexpr std::uint64_t kKinds[] = {0x9fa0 /* proc */, 0x62656572 /* sysfs */, 0x63677270 /* cgroup2 */, 0x27e0eb /* cgroup */};
  struct statfs info{};
  if (::fstatfs(fd, &info) != 0) return false;
  return std::ranges::find(kKinds, static_cast<std::uint64_t>(info.f_type)) != std::end(kKinds);
}

std::string linkTarget(int directory, const char* name) {
  std::string target(kMaxPath + 1, '\0');
  const auto count = ::readlinkat(directory, name, target.data(), target.size());
  target.resize(count < 0 ? 0 : std::min(static_cast<std::size_t>(count), kMaxPath));
  return target;
}

FileResult<std::string> hash(const OwnedFd& file, std::uint64_t bytes, std::string_view path) {
  Sha256 sha;
  std::string buffer(64 * 1024, '\0');
  for (std::uint64_t at = 0; at < bytes;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - at));
    const auto count = ::pread(file.get(), buffer.data(), want, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return systemFailure(errno, "read", path);
    if (count == 0) return fileFail(pb::FileError::KIND_CHANGED, quotedName(path) + " shrank while it was read");
    sha.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
    at += static_cast<std::uint64_t>(count);
  }
  return sha.finish();
}

FileResult<FileDone> statFile(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  const auto held = holdPath(AT_FDCWD, path, request.stat().follow() ? Links::kFollow : Links::kRefuse);
  if (!held) return fileFail(held.error());
  const auto info = statOf(*held, path);
  if (!info) return fileFail(info.error());
  pb::FileFrame answer;
  fillInfo(*answer.mutable_info(), *info, splitPath(path).name);
  if (S_ISLNK(info->st_mode)) answer.mutable_info()->set_link_target(linkTarget(held->get(), ""));
  if (const auto bytes = request.stat().digest_bytes(); bytes > 0) {
    const auto file = reopenRegular(*held, O_RDONLY, path);
    if (!file) return fileFail(file.error());
    if (bytes > static_cast<std::uint64_t>(info->st_size)) {
      return fileFail(pb::FileError::KIND_WRONG_OFFSET, quotedName(path) + " has only " + std::to_string(info->st_size) + " bytes");
    }
    auto sum = hash(*file, bytes, path);
    if (!sum) return std::unexpected(std::move(sum).error());
    answer.mutable_info()->set_sha256(*sum);
  }
  connection.send(answer);
  return FileDone();
}

FileResult<FileDone> listDirectory(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  const auto limit = std::clamp<std::uint32_t>(request.list().limit(), 1, kMaxListed);
  auto directory = openDirectoryAt(path);
  if (!directory) return std::unexpected(std::move(directory).error());
  DirectoryNames names(std::move(*directory));
  // The smallest ones after the last page, and one more to know whether there is a next: memory of a page, however many.
  std::set<std::string, std::less<>> page;
  while (true) {
    const auto name = names.next();
    if (!name) return fileFail(name.error());
    if (name->empty()) break;
    if (*name <= std::string_view(request.list().after())) continue;
    if (page.size() > limit) {
      if (*name >= std::string_view(*page.rbegin())) continue;
      page.erase(std::prev(page.end()));
    }
    page.emplace(*name);
  }
  FileDone done;
  done.set_more(page.size() > limit);
  if (done.more()) page.erase(std::prev(page.end()));
  for (const auto& name : page) {
    struct stat info{};
    pb::FileFrame answer;
    auto& entry = *answer.mutable_entry();
    if (::fstatat(names.fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      fillInfo(entry, info, name);
      if (S_ISLNK(info.st_mode)) entry.set_link_target(linkTarget(names.fd(), name.c_str()));
    } else if (errno == ENOENT && name != *page.rbegin()) {
      continue;  // gone meanwhile; the last one stays, because the next page begins after it
    } else {
      entry.set_name(name);
    }
    connection.send(answer);
    if (connection.gone()) return hungUp();
    done.set_entries(done.entries() + 1);
  }
  return done;
}

FileResult<FileDone> readFile(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  const auto& read = request.read();
  const auto held = holdPath(AT_FDCWD, path, Links::kFollow);
  if (!held) return fileFail(held.error());
  const auto file = reopenRegular(*held, O_RDONLY, path);
  if (!file) return fileFail(file.error());
  const auto info = statOf(*file, path);
  if (!info) return fileFail(info.error());
  const bool madeUp = isMadeUp(file->get());
  if (!madeUp && !read.version().empty() && read.version() != versionOf(*info)) {
    return fileFail(pb::FileError::KIND_CHANGED, quotedName(path) + " is not the version that was asked for");
  }
  const auto size = static_cast<std::uint64_t>(info->st_size);
  if (!madeUp && read.offset() > size) {
    return fileFail(pb::FileError::KIND_WRONG_OFFSET, quotedName(path) + " has only " + std::to_string(size) + " bytes");
  }
  pb::FileFrame answer;
  fillInfo(*answer.mutable_info(), *info, splitPath(path).name);
  answer.mutable_info()->set_size_unknown(madeUp);
  connection.send(answer);
  std::uint64_t end = madeUp ? ~std::uint64_t{0} : size;
  if (read.length() > 0) end = std::min(end, read.offset() + std::min(read.length(), end - read.offset()));
  FileDone done;
  for (auto at = read.offset(); at < end && !connection.gone();) {
    const auto space = connection.dataSpace();
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(space.size(), end - at));
    const auto count = ::pread(file->get(), space.data(), want, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return systemFailure(errno, "read", path);
    if (count == 0 && madeUp) break;
    if (count == 0) return fileFail(pb::FileError::KIND_CHANGED, quotedName(path) + " shrank while it was read");
    connection.sendData(static_cast<std::size_t>(count));
    at += static_cast<std::uint64_t>(count);
    done.set_bytes(done.bytes() + static_cast<std::uint64_t>(count));
  }
  if (connection.gone()) return hungUp();
  const auto after = statOf(*file, path);
  if (!after) return fileFail(after.error());
  if (!madeUp && versionOf(*after) != versionOf(*info)) {
    return fileFail(pb::FileError::KIND_CHANGED, quotedName(path) + " changed while it was read");
  }
  return done;
}

FileResult<FileDone> readTree(FileConnection& connection, const pb::FileRequest& request) {
  const auto named = request.read_tree().contents() ? TreePacker::Named::kContentsOnly : TreePacker::Named::kByItsName;
  auto packer = TreePacker::open(request.path(), named);
  if (!packer) return fileFail(packer.error());
  while (!connection.gone()) {
    const auto count = packer->read(connection.dataSpace());
    if (!count) return fileFail(count.error());
    if (*count == 0) {
      FileDone done;
      done.set_entries(packer->entries());
      done.set_bytes(packer->fileBytes());
      return done;
    }
    connection.sendData(*count);
  }
  return hungUp();
}

FileKind kindOfErrno(int error) {
  switch (error) {
    case ENOENT: return pb::FileError::KIND_NOT_FOUND;
    case EEXIST: return pb::FileError::KIND_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return pb::FileError::KIND_NOT_PERMITTED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return pb::FileError::KIND_NO_SPACE;
    case ENOTDIR: return pb::FileError::KIND_NOT_A_DIRECTORY;
    case EISDIR:
    case ENXIO: return pb::FileError::KIND_NOT_A_FILE;
    case ENOTEMPTY: return pb::FileError::KIND_NOT_EMPTY;
    case ESTALE: return pb::FileError::KIND_CHANGED;
    case EBUSY:
    case ETXTBSY: return pb::FileError::KIND_IN_USE;
    case ELOOP:
    case ENAMETOOLONG: return pb::FileError::KIND_INVALID;
    default: return pb::FileError::KIND_FAILED;
  }
}

FileKind kindOf(const TreeError& error) {
  switch (error.fault) {
    case TreeFault::kMalformed:
    case TreeFault::kUnsupported:
    case TreeFault::kTold: return pb::FileError::KIND_INVALID;
    case TreeFault::kOutside: return pb::FileError::KIND_OUTSIDE;
    case TreeFault::kTooDeep: return pb::FileError::KIND_TOO_DEEP;
    case TreeFault::kNotAFile: return pb::FileError::KIND_NOT_A_FILE;
    case TreeFault::kNotADirectory: return pb::FileError::KIND_NOT_A_DIRECTORY;
    case TreeFault::kChanged: return pb::FileError::KIND_CHANGED;
    case TreeFault::kSystem: return kindOfErrno(error.error);
  }
  return pb::FileError::KIND_FAILED;
}

}  // namespace

std::unexpected<FileFailure> fileFail(FileKind kind, std::string message) { return std::unexpected(FileFailure{kind, std::move(message)}); }
std::unexpected<FileFailure> fileFail(const TreeError& error) { return fileFail(kindOf(error), error.message); }
std::unexpected<FileFailure> systemFailure(int error, std::string_view doing, std::string_view name) {
  return fileFail(systemFail(error, doing, name).error());
}
std::unexpected<FileFailure> hungUp() { return fileFail(pb::FileError::KIND_UNAVAILABLE, "the agent closed the connection"); }

FileResult<OwnedFd> openDirectoryAt(const std::string& path) {
  const auto held = holdPath(AT_FDCWD, path, Links::kFollow);
  if (!held) return fileFail(held.error());
  auto directory = openDirectory(held->get(), ".");
  if (directory) return std::move(*directory);
  if (directory.error().error == ENOTDIR) return fileFail(pb::FileError::KIND_NOT_A_DIRECTORY, quotedName(path) + " is not a directory");
  return fileFail(directory.error());
}

SplitPath splitPath(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (path == "/") return {"/", {}};
  return {std::string(slash == 0 ? std::string_view("/") : path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

void fillInfo(pb::FileInfo& out, const struct stat& info, std::string_view name) {
  out.set_name(name.empty() ? std::string("/") : std::string(name));
  out.set_type(typeOf(info.st_mode));
  out.set_size_bytes(static_cast<std::uint64_t>(info.st_size));
  out.set_mode(info.st_mode & 07777);
  out.set_uid(info.st_uid);
  out.set_gid(info.st_gid);
  out.set_modified_seconds(info.st_mtim.tv_sec);
  out.set_modified_nanos(static_cast<std::uint32_t>(info.st_mtim.tv_nsec));
  out.set_version(versionOf(info));
}

FileResult<FileDone> carryOut(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  if (path.empty() || path.size() > kMaxPath || path.front() != '/' || path.find('\0') != std::string::npos) {
    return fileFail(pb::FileError::KIND_INVALID, "a path is absolute and has at most 4,095 bytes, none of them zero");
  }
  switch (request.operation_case()) {
    case pb::FileRequest::kStat: return statFile(connection, request);
    case pb::FileRequest::kList: return listDirectory(connection, request);
    case pb::FileRequest::kRead: return readFile(connection, request);
    case pb::FileRequest::kWrite: return writeFile(connection, request);
    case pb::FileRequest::kRemove: return removeFile(request);
    case pb::FileRequest::kMakeDirectory: return makeDirectory(connection, request);
    case pb::FileRequest::kReadTree: return readTree(connection, request);
    case pb::FileRequest::kWriteTree: return writeTree(connection, request);
    case pb::FileRequest::OPERATION_NOT_SET: break;
  }
  return fileFail(pb::FileError::KIND_UNSUPPORTED, "the sandbox's guest does not know this operation");
}

}  // namespace gs::guest

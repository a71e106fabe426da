#include <fcntl.h>

#include <cerrno>
#include <vector>

#include "guest/file_operations.h"
#include "trees/tree_packer.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

// Others may add names while we remove: so often a directory is read again before it is told that it is not empty.
constexpr int kMaxReadings = 8;

struct Level {
  DirectoryNames names;
  std::string name;  // in the level above
  int readings = 1;
};

FileResult<bool> removeOne(int directory, const std::string& name, std::string_view path, FileDone& done) {
  if (::unlinkat(directory, name.c_str(), 0) == 0) {
    done.set_entries(done.entries() + 1);
    return true;
  }
  if (errno == ENOENT) return true;
  const int error = errno;
  struct stat info{};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) return false;
  return systemFailure(error, "remove", path);
}

FileResult<void> push(std::vector<Level>& levels, int parent, const std::string& name, std::string_view path) {
  if (levels.size() >= kMaxTreeLevels) return fileFail(pb::FileError::KIND_TOO_DEEP, "more than 256 levels of directories below " + quotedName(path));
  auto directory = openDirectory(parent, name);
  if (!directory) return fileFail(directory.error());
  levels.push_back({DirectoryNames(std::move(*directory)), name});
  return {};
}

FileResult<void> removeTree(int parent, const std::string& name, std::string_view path, FileDone& done) {
  std::vector<Level> levels;
  if (auto pushed = push(levels, parent, name, path); !pushed) return pushed;
  while (!levels.empty()) {
    auto& level = levels.back();
    const auto next = level.names.next();
    if (!next) return fileFail(next.error());
    if (!next->empty()) {
      const std::string entry(*next);
      const auto removed = removeOne(level.names.fd(), entry, path, done);
      if (!removed) return std::unexpected(removed.error());
      if (!*removed) {
        if (auto pushed = push(levels, level.names.fd(), entry, path); !pushed) return pushed;
      }
      continue;
    }
    const int above = levels.size() > 1 ? levels[levels.size() - 2].names.fd() : parent;
    if (::unlinkat(above, level.name.c_str(), AT_REMOVEDIR) == 0) {
      done.set_entries(done.entries() + 1);
    } else if (errno == ENOTEMPTY && ++level.readings <= kMaxReadings && ::lseek(level.names.fd(), 0, SEEK_SET) == 0) {
      continue;
    } else if (errno != ENOENT) {
      return systemFailure(errno, "remove", path);
    }
    levels.pop_back();
  }
  return {};
}

}  // namespace

FileResult<FileDone> removeFile(const pb::FileRequest& request) {
  const auto& path = request.path();
  const auto [directory, name] = splitPath(path);
  if (name.empty() || name == "." || name == "..") return fileFail(pb::FileError::KIND_INVALID, quotedName(path) + " cannot be removed");
  const auto held = holdPath(AT_FDCWD, directory, Links::kFollow);
  if (!held) return fileFail(held.error());
  struct stat info{};
  if (::fstatat(held->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return systemFailure(errno, "find", path);
  FileDone done;
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(held->get(), name.c_str(), 0) != 0) return systemFailure(errno, "remove", path);
    done.set_entries(1);
    return done;
  }
  if (request.remove().recursive()) {
    if (auto removed = removeTree(held->get(), name, path, done); !removed) return std::unexpected(std::move(removed).error());
    return done;
  }
  if (::unlinkat(held->get(), name.c_str(), AT_REMOVEDIR) != 0) return systemFailure(errno, "remove", path);
  done.set_entries(1);
  return done;
}

FileResult<FileDone> makeDirectory(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  const bool parents = request.make_directory().parents();
  if (parents) {
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      if (::mkdir(path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return systemFailure(errno, "make the directory", path.substr(0, slash));
    }
  }
  const bool made = ::mkdir(path.c_str(), request.make_directory().mode() & 07777) == 0;
  if (!made && (errno != EEXIST || !parents)) return systemFailure(errno, "make the directory", path);
  const auto held = holdPath(AT_FDCWD, path, Links::kFollow);
  if (!held) return fileFail(held.error());
  const auto info = statOf(*held, path);
  if (!info) return fileFail(info.error());
  if (!S_ISDIR(info->st_mode)) return fileFail(pb::FileError::KIND_EXISTS, "there is " + std::string(fileTypeName(info->st_mode)) + " at " + quotedName(path) + " already");
  pb::FileFrame answer;
  fillInfo(*answer.mutable_info(), *info, splitPath(path).name);
  connection.send(answer);
  FileDone done;
  done.set_entries(made ? 1 : 0);
  return done;
}

}  // namespace gs::guest

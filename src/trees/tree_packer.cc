#include "trees/tree_packer.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <cstring>

namespace gs {
namespace {

bool hasVanished(const TreeError& error) { return error.fault == TreeFault::kSystem && (error.error == ENOENT || error.error == ESTALE); }

TarEntry entryOf(const struct stat& info, std::string name) {
  TarEntry entry;
  entry.name = std::move(name);
  entry.mode = info.st_mode & 07777;
  entry.uid = info.st_uid;
  entry.gid = info.st_gid;
  entry.modifiedSeconds = info.st_mtim.tv_sec;
  entry.modifiedNanos = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  return entry;
}

// "/a/b//" as "b"; "/" and "." as ".".
std::string lastPart(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  path.remove_prefix(path.find_last_of('/') == std::string_view::npos ? 0 : path.find_last_of('/') + 1);
  return path.empty() || path == ".." ? std::string(".") : std::string(path);
}

}  // namespace

TreeResult<TreePacker> TreePacker::open(const std::string& path, Named named, Special special) {
  TreePacker packer(special);
  const bool contents = named == Named::kContentsOnly;
  auto held = holdPath(AT_FDCWD, path, contents ? Links::kFollow : Links::kRefuse);
  if (!held) return std::unexpected(held.error());
  const auto info = statOf(*held, path);
  if (!info) return std::unexpected(info.error());
  if (contents && !S_ISDIR(info->st_mode)) {
    return treeFail(TreeFault::kNotADirectory, quotedName(path) + " is " + std::string(fileTypeName(info->st_mode)) + ", not a directory");
  }
  auto added = packer.addHeld(std::move(*held), path, contents ? std::string(".") : lastPart(path));
  if (!added) return std::unexpected(added.error());
  return packer;
}

TreeResult<std::size_t> TreePacker::read(std::span<char> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    if (pendingAt_ < pending_.size()) {
      const auto take = std::min(pending_.size() - pendingAt_, out.size() - done);
      std::memcpy(out.data() + done, pending_.data() + pendingAt_, take);
      pendingAt_ += take;
      done += take;
      continue;
    }
    pending_.clear();
    pendingAt_ = 0;
    if (file_.isOpen() && fileLeft_ > 0) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(fileLeft_, out.size() - done));
      const auto count = ::read(file_.get(), out.data() + done, want);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return systemFail(errno, "read", fileName_);
      if (count == 0) return treeFail(TreeFault::kChanged, quotedName(fileName_) + " shrank while it was read");
      fileLeft_ -= static_cast<std::uint64_t>(count);
      fileBytes_ += static_cast<std::uint64_t>(count);
      done += static_cast<std::size_t>(count);
      continue;
    }
    if (file_.isOpen()) {
      file_.reset();
      pending_.assign(filePadding_, '\0');
      continue;
    }
    if (ended_) break;
    if (auto next = advance(); !next) return std::unexpected(next.error());
  }
  return done;
}

TreeResult<void> TreePacker::advance() {
  if (levels_.empty()) {
    pending_ = tarEnd();
    ended_ = true;
    return {};
  }
  auto& level = levels_.back();
  const auto name = level.names.next();
  if (!name) return std::unexpected(name.error());
  if (name->empty()) {
    levels_.pop_back();
    return {};
  }
  const std::string text(*name);
  auto added = add(level.names.fd(), text, level.prefix + text);
  if (!added && hasVanished(added.error())) return {};
  return added;
}

TreeResult<void> TreePacker::add(int parent, const std::string& name, std::string tarName) {
  auto held = holdPath(parent, name, Links::kRefuse);
  if (!held) return std::unexpected(held.error());
  return addHeld(std::move(*held), name, std::move(tarName));
}

TreeResult<void> TreePacker::addHeld(OwnedFd held, const std::string& name, std::string tarName) {
  const auto info = statOf(held, name);
  if (!info) return std::unexpected(info.error());
  if (tarName.size() + 1 > kMaxTarName) return treeFail(TreeFault::kTooDeep, "a name of more than 4,095 bytes: " + quotedName(tarName));
  const bool file = S_ISREG(info->st_mode) || S_ISDIR(info->st_mode) || S_ISLNK(info->st_mode);
  if (S_ISSOCK(info->st_mode) || (!file && special_ == Special::kPassOver)) {
    ++passedOver_;
    return {};
  }
  TarEntry entry = entryOf(*info, std::move(tarName));
  switch (info->st_mode & S_IFMT) {
    case S_IFREG: {
      auto opened = reopenRegular(held, O_RDONLY, name);
      if (!opened) return std::unexpected(opened.error());
      entry.kind = TarKind::kFile;
      entry.sizeBytes = static_cast<std::uint64_t>(info->st_size);
      fileLeft_ = entry.sizeBytes;
      filePadding_ = tarPadding(entry.sizeBytes);
      fileName_ = entry.name;
      if (fileLeft_ > 0) file_ = std::move(*opened);
      break;
    }
    case S_IFDIR: {
      if (levels_.size() >= kMaxTreeLevels) return treeFail(TreeFault::kTooDeep, "more than 256 levels of directories at " + quotedName(entry.name));
      // Through the descriptor that is held: "." of it is this directory, whatever its name leads to by now.
      auto directory = openDirectory(held.get(), ".");
      if (!directory) return std::unexpected(directory.error());
      entry.kind = TarKind::kDirectory;
      levels_.push_back({DirectoryNames(std::move(*directory)), entry.name + "/"});
      break;
    }
    case S_IFLNK: {
      entry.kind = TarKind::kLink;
      entry.linkTarget.resize(kMaxTarName + 1);
      const auto count = ::readlinkat(held.get(), "", entry.linkTarget.data(), entry.linkTarget.size());
      if (count < 0) return systemFail(errno, "read the link", name);
      entry.linkTarget.resize(static_cast<std::size_t>(count));
      break;
    }
    case S_IFIFO: entry.kind = TarKind::kFifo; break;
    default: entry.kind = TarKind::kDevice; break;
  }
  ++entries_;
  pending_ = tarHeader(entry);
  pendingAt_ = 0;
  return {};
}

}  // namespace gs

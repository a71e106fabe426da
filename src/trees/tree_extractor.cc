#include "trees/tree_extractor.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "trees/tree_packer.h"

namespace gs {
namespace {

constexpr int kMaxReplacements = 16;

// "./a//b" as "a", "b". Nothing: the name leads outside.
std::optional<std::vector<std::string>> partsOf(std::string_view name) {
  if (name.starts_with('/')) return std::nullopt;
  std::vector<std::string> parts;
  while (!name.empty()) {
    const auto end = std::min(name.find('/'), name.size());
    const auto part = name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return std::nullopt;
    parts.emplace_back(part);
  }
  return parts;
}

std::unexpected<TreeError> outside(std::string_view name) {
  return treeFail(TreeFault::kOutside, quotedName(name) + " would lead out of the destination");
}

std::array<timespec, 2> timesOf(const TarEntry& entry) {
  return {timespec{0, UTIME_OMIT}, timespec{entry.modifiedSeconds, static_cast<long>(entry.modifiedNanos)}};
}

// Makes way for a new file: calls `make` until the name is free. What is there is removed, unless it is a directory.
template <class Make>
TreeResult<void> replacing(int parent, const std::string& name, const std::string& whole, std::string_view doing, Make make) {
  for (int attempt = 0; attempt < kMaxReplacements; ++attempt) {
    if (make()) return {};
    if (errno != EEXIST) return systemFail(errno, doing, whole);
    if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno == EISDIR || errno == EPERM) return treeFail(TreeFault::kNotAFile, "there is a directory at " + quotedName(whole) + " already");
    return systemFail(errno, "replace", whole);
  }
  return systemFail(EEXIST, doing, whole);
}

}  // namespace

TreeExtractor::TreeExtractor(OwnedFd destination, ExtractRules rules)
    : destination_(std::move(destination)), rules_(rules), reader_(*this) {}

TreeResult<void> TreeExtractor::finish() {
  if (auto whole = reader_.finish(); !whole) return whole;
  while (!levels_.empty()) {
    if (auto left = leave(); !left) return left;
  }
  if (topAttributes_ && rules_.top == ExtractRules::Top::kSet) return setAttributes(destination_.get(), *topAttributes_);
  return {};
}

TreeResult<TreeExtractor::Place> TreeExtractor::walkTo(const std::string& name) {
  auto parts = partsOf(name);
  if (!parts) return outside(name);
  if (parts->size() > kMaxTreeLevels) return treeFail(TreeFault::kTooDeep, "more than 256 levels of directories at " + quotedName(name));
  std::size_t same = 0;
  while (same < levels_.size() && same + 1 < parts->size() && levels_[same].name == (*parts)[same]) ++same;
  while (levels_.size() > same) {
    if (auto left = leave(); !left) return std::unexpected(left.error());
  }
  if (parts->empty()) return Place{destination_.get(), {}};
  for (std::size_t i = same; i + 1 < parts->size(); ++i) {
    if (::mkdirat(here(), (*parts)[i].c_str(), 0755) != 0 && errno != EEXIST) return systemFail(errno, "make the directory", name);
    if (auto entered = enter((*parts)[i], name); !entered) return std::unexpected(entered.error());
  }
  return Place{here(), std::move(parts->back())};
}

TreeResult<void> TreeExtractor::enter(const std::string& part, const std::string& whole) {
  OwnedFd fd(::openat(here(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.isOpen()) {
    const int error = errno;
    struct stat info{};
    const bool link = ::fstatat(here(), part.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
    if (error == ELOOP || (error == ENOTDIR && link)) return outside(whole);
    if (error == ENOTDIR) return treeFail(TreeFault::kNotADirectory, quotedName(part) + " of " + quotedName(whole) + " is not a directory");
    return systemFail(error, "open the directory", whole);
  }
  levels_.push_back({part, std::move(fd), std::nullopt});
  return {};
}

TreeResult<void> TreeExtractor::leave() {
  const Level level = std::move(levels_.back());
  levels_.pop_back();
  return level.attributes ? setAttributes(level.fd.get(), *level.attributes) : TreeResult<void>();
}

TreeResult<void> TreeExtractor::entry(const TarEntry& entry) {
  const bool special = entry.kind == TarKind::kFifo || entry.kind == TarKind::kDevice ||
                       (entry.kind == TarKind::kHardLink && rules_.special == ExtractRules::Special::kPassOver);
  if (special) {
    if (rules_.special == ExtractRules::Special::kRefuse) {
      return treeFail(TreeFault::kUnsupported, quotedName(entry.name) + " is " + (entry.kind == TarKind::kFifo ? "a FIFO" : "a device") + ", which is not extracted");
    }
    ++passedOver_;
    return {};
  }
  ++entries_;
  const auto place = walkTo(entry.name);
  if (!place) return std::unexpected(place.error());
  if (entry.kind == TarKind::kDirectory) return makeDirectory(*place, entry);
  if (place->name.empty()) return outside(entry.name);
  if (entry.kind == TarKind::kLink) return makeLink(*place, entry);
  if (entry.kind == TarKind::kHardLink) return makeHardLink(*place, entry);
  return makeFile(*place, entry);
}

TreeResult<void> TreeExtractor::makeDirectory(const Place& place, const TarEntry& entry) {
  if (place.name.empty()) {
    topAttributes_ = entry;
    return {};
  }
  if (levels_.size() + 1 > kMaxTreeLevels) return treeFail(TreeFault::kTooDeep, "more than 256 levels of directories at " + quotedName(entry.name));
  // Ours alone until what belongs into it is there.
  if (::mkdirat(place.parent, place.name.c_str(), 0700) != 0 && errno != EEXIST) return systemFail(errno, "make the directory", entry.name);
  if (auto entered = enter(place.name, entry.name); !entered) return entered;
  levels_.back().attributes = entry;
  return {};
}

TreeResult<void> TreeExtractor::makeFile(const Place& place, const TarEntry& entry) {
  const auto made = replacing(place.parent, place.name, entry.name, "make", [&] {
    file_ = OwnedFd(::openat(place.parent, place.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return file_.isOpen();
  });
  if (!made) return made;
  fileEntry_ = entry;
  writer_ = HoleyWriter();
  return {};
}

TreeResult<void> TreeExtractor::makeLink(const Place& place, const TarEntry& entry) {
  const auto made = replacing(place.parent, place.name, entry.name, "make the link",
                              [&] { return ::symlinkat(entry.linkTarget.c_str(), place.parent, place.name.c_str()) == 0; });
  if (!made) return made;
  // What cannot be set on a link, or was swapped meanwhile, is not worth the whole tree.
  if (rules_.owners == ExtractRules::Owners::kKeep) {
    static_cast<void>(::fchownat(place.parent, place.name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) == 0);
  }
  static_cast<void>(::utimensat(place.parent, place.name.c_str(), timesOf(entry).data(), AT_SYMLINK_NOFOLLOW));
  return {};
}

TreeResult<void> TreeExtractor::makeHardLink(const Place& place, const TarEntry& entry) {
  auto parts = partsOf(entry.linkTarget);
  if (!parts || parts->empty()) return outside(entry.linkTarget);
  OwnedFd directory(::fcntl(destination_.get(), F_DUPFD_CLOEXEC, 0));
  for (std::size_t i = 0; i + 1 < parts->size(); ++i) {
    OwnedFd next(::openat(directory.get(), (*parts)[i].c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.isOpen()) return errno == ELOOP || errno == ENOTDIR ? outside(entry.linkTarget) : systemFail(errno, "find", entry.linkTarget);
    directory = std::move(next);
  }
  return replacing(place.parent, place.name, entry.name, "make the hard link", [&] {
    return ::linkat(directory.get(), parts->back().c_str(), place.parent, place.name.c_str(), 0) == 0;
  });
}

TreeResult<void> TreeExtractor::data(std::string_view bytes) {
  fileBytes_ += bytes.size();
  return writer_.write(file_.get(), bytes, fileEntry_.name);
}

TreeResult<void> TreeExtractor::entryEnd() {
  if (!file_.isOpen()) return {};
  const OwnedFd file = std::exchange(file_, OwnedFd());
  if (auto done = writer_.finish(file.get(), fileEntry_.name); !done) return done;
  return setAttributes(file.get(), fileEntry_);
}

TreeResult<void> TreeExtractor::setAttributes(int fd, const TarEntry& entry) {
  // Owner first: changing it takes set-user-id bits away.
  if (rules_.owners == ExtractRules::Owners::kKeep && ::fchown(fd, entry.uid, entry.gid) != 0 && errno != EPERM && errno != EINVAL) {
    return systemFail(errno, "set the owner of", entry.name);
  }
  if (::fchmod(fd, entry.mode & rules_.modeMask) != 0) return systemFail(errno, "set the mode of", entry.name);
  if (::futimens(fd, timesOf(entry).data()) != 0) return systemFail(errno, "set the time of", entry.name);
  return {};
}

}  // namespace gs

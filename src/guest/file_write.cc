#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/file_operations.h"
#include "trees/tree_extractor.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr int kMaxLinks = 40;
constexpr std::size_t kMaxKey = 64;
constexpr std::size_t kNameInPartial = 200;

// Where a file is really to be: the directory, held, and the name in it, which is no link.
struct Target {
  OwnedFd directory;
  std::string name;
  std::optional<struct stat> present;
};

FileResult<Target> findTarget(std::string path) {
  for (int links = 0; links < kMaxLinks; ++links) {
    auto [directory, name] = splitPath(path);
    if (name.empty() || name == "." || name == ".." || path.ends_with('/')) {
      return fileFail(pb::FileError::KIND_NOT_A_FILE, quotedName(path) + " is not the name of a file");
    }
    auto held = holdPath(AT_FDCWD, directory, Links::kFollow);
    if (!held) return fileFail(held.error());
    struct stat info{};
    if (::fstatat(held->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return Target{std::move(*held), name, std::nullopt};
      return systemFailure(errno, "look at", path);
    }
    if (!S_ISLNK(info.st_mode)) return Target{std::move(*held), name, info};
    std::string target(4'096, '\0');
    const auto count = ::readlinkat(held->get(), name.c_str(), target.data(), target.size());
    if (count < 0) return systemFailure(errno, "read the link", path);
    target.resize(static_cast<std::size_t>(count));
    path = target.starts_with('/') ? target : directory + "/" + target;
    if (path.size() > 4'095) return systemFailure(ENAMETOOLONG, "follow", path);
  }
  return systemFailure(ELOOP, "follow", path);
}

bool isKey(std::string_view key) {
  return key.size() <= kMaxKey && std::ranges::all_of(key, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
         });
}

// The file beside the target that an upload grows in.
class Partial {
 public:
  Partial(const Target& target, const std::string& key) : directory_(target.directory.get()), kept_(!key.empty()) {
    const std::string unique = kept_ ? key : "tmp-" + std::to_string(::getpid());
    name_ = "." + target.name.substr(0, kNameInPartial) + ".gs-" + unique + ".part";
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() {
    if (!kept_ && file_.isOpen() && isOurs()) ::unlinkat(directory_, name_.c_str(), 0);
  }

  FileResult<void> open(std::uint64_t offset) {
    const auto held = holdPath(directory_, name_, Links::kRefuse);
    if (!held && held.error().error != ENOENT) return fileFail(held.error());
    if (held) {
      auto file = reopenRegular(*held, O_RDWR, name_);
      if (!file) return fileFail(file.error());
      // Whoever writes it now has it locked; two of one key must not write into one file.
      if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) return fileFail(pb::FileError::KIND_IN_USE, "another upload with this key is under way");
      if (offset > 0) {
        const auto info = statOf(*file, name_);
        if (!info) return fileFail(info.error());
        if (static_cast<std::uint64_t>(info->st_size) < offset) {
          return fileFail(pb::FileError::KIND_WRONG_OFFSET, "only " + std::to_string(info->st_size) + " bytes of the upload are there");
        }
        if (::ftruncate(file->get(), static_cast<off_t>(offset)) != 0) return systemFailure(errno, "cut", name_);
        file_ = std::move(*file);
        return {};
      }
      if (::unlinkat(directory_, name_.c_str(), 0) != 0 && errno != ENOENT) return systemFailure(errno, "remove", name_);
    } else if (offset > 0) {
      return fileFail(pb::FileError::KIND_WRONG_OFFSET, "nothing of the upload is there");
    }
    file_ = OwnedFd(::openat(directory_, name_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_.isOpen()) return systemFailure(errno, "make", name_);
    ::flock(file_.get(), LOCK_EX | LOCK_NB);
    return {};
  }

  FileResult<void> moveTo(const std::string& name) {
    if (!isOurs()) return fileFail(pb::FileError::KIND_CHANGED, "the upload's partial file was replaced by another");
    if (::renameat(directory_, name_.c_str(), directory_, name.c_str()) != 0) return systemFailure(errno, "put in place", name);
    kept_ = true;
    return {};
  }

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] const OwnedFd& file() const { return file_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  [[nodiscard]] bool isOurs() const {
    struct stat named{};
    struct stat ours{};
    return ::fstatat(directory_, name_.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 && ::fstat(file_.get(), &ours) == 0 &&
           named.st_ino == ours.st_ino && named.st_dev == ours.st_dev;
  }

  int directory_;
  bool kept_;
  std::string name_;
  OwnedFd file_;
};

FileResult<void> setAttributes(int fd, const pb::WriteFile& write, const std::optional<struct stat>& present, const std::string& path) {
  const uid_t uid = write.has_uid() ? write.uid() : present ? present->st_uid : 0;
  const gid_t gid = write.has_gid() ? write.gid() : present ? present->st_gid : 0;
  const mode_t mode = write.has_mode() ? write.mode() & 07777 : present ? present->st_mode & 07777 : 0644;
  if (::fchown(fd, uid, gid) != 0 && errno != EPERM && errno != EINVAL) return systemFailure(errno, "set the owner of", path);
  if (::fchmod(fd, mode) != 0) return systemFailure(errno, "set the mode of", path);
  if (write.has_modified_seconds()) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timespec{write.modified_seconds(), static_cast<long>(write.modified_nanos())}};
    if (::futimens(fd, times.data()) != 0) return systemFailure(errno, "set the time of", path);
  }
  return {};
}

// Data frames until `end`, each given to `take`.
template <class Take>
FileResult<void> receive(FileConnection& connection, Take take) {
  while (true) {
    const auto frame = connection.read();
    if (!frame) return hungUp();
    if (frame->has_end()) return {};
    if (!frame->has_data() || frame->data().empty() || frame->data().size() > kMaxFileData) {
      return fileFail(pb::FileError::KIND_INVALID, "a frame that does not belong into an upload");
    }
    if (auto taken = take(std::string_view(frame->data())); !taken) return fileFail(taken.error());
  }
}

}  // namespace

FileResult<FileDone> writeFile(FileConnection& connection, const pb::FileRequest& request) {
  const auto& write = request.write();
  const auto& path = request.path();
  if (!isKey(write.key()) || (write.offset() > 0 && write.key().empty()) || write.modified_nanos() > 999'999'999) {
    return fileFail(pb::FileError::KIND_INVALID, "the request breaks a limit of WriteFile");
  }
  auto target = findTarget(path);
  if (!target) return std::unexpected(std::move(target).error());
  if (target->present && !S_ISREG(target->present->st_mode)) {
    return fileFail(pb::FileError::KIND_NOT_A_FILE, quotedName(path) + " is " + std::string(fileTypeName(target->present->st_mode)) + ", not a regular file");
  }
  Partial partial(*target, write.key());
  if (auto opened = partial.open(write.offset()); !opened) return std::unexpected(std::move(opened).error());
  HoleyWriter writer(write.offset());
  const auto received = receive(connection, [&](std::string_view bytes) { return writer.write(partial.fd(), bytes, path); });
  // Also of one that broke off: what was received is there, and is found by its length.
  if (const auto whole = writer.finish(partial.fd(), path); !whole) return fileFail(whole.error());
  if (!received) return std::unexpected(received.error());
  if (write.has_size_bytes() && write.size_bytes() != writer.offset()) {
    return fileFail(pb::FileError::KIND_INVALID, "the upload has " + std::to_string(writer.offset()) + " bytes, not the " +
                                                     std::to_string(write.size_bytes()) + " that were announced");
  }
  if (auto set = setAttributes(partial.fd(), write, target->present, path); !set) return std::unexpected(std::move(set).error());
  if (auto moved = partial.moveTo(target->name); !moved) return std::unexpected(std::move(moved).error());
  const auto info = statOf(partial.file(), path);
  if (!info) return fileFail(info.error());
  pb::FileFrame answer;
  fillInfo(*answer.mutable_info(), *info, target->name);
  connection.send(answer);
  FileDone done;
  done.set_bytes(writer.offset() - write.offset());
  return done;
}

FileResult<FileDone> writeTree(FileConnection& connection, const pb::FileRequest& request) {
  const auto& path = request.path();
  const bool made = ::mkdir(path.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) return systemFailure(errno, "make the directory", path);
  auto directory = openDirectoryAt(path);
  if (!directory) return std::unexpected(std::move(directory).error());
  TreeExtractor extractor(std::move(*directory), {.owners = ExtractRules::Owners::kKeep,
                                                  .special = ExtractRules::Special::kRefuse,
                                                  .top = made ? ExtractRules::Top::kSet : ExtractRules::Top::kKeep,
                                                  .modeMask = 07777});
  auto received = receive(connection, [&](std::string_view bytes) { return extractor.feed(bytes); });
  if (!received) return std::unexpected(std::move(received).error());
  if (auto whole = extractor.finish(); !whole) return fileFail(whole.error());
  FileDone done;
  done.set_entries(extractor.entries());
  done.set_bytes(extractor.fileBytes());
  return done;
}

}  // namespace gs::guest

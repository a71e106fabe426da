#include "cli/file_copy.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/digest.h"
#include "cli/config_file.h"
#include "cli/progress.h"
#include "cli/resources.h"
#include "trees/tree_extractor.h"
#include "trees/tree_packer.h"
#include "wire/file_frames.h"

namespace gs::cli {
namespace {

// Smaller ones are sent again as a whole: cheaper than asking what is there.
constexpr std::uint64_t kLeastResumed = 4 << 20;
constexpr int kMaxIdleAttempts = 6;
constexpr std::size_t kPieceBytes = 256 * 1024;

// What may go better when it is tried again.
bool isPassing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded || error.reason == "file_in_use" ||
         error.reason == "too_many";
}

std::string lastPart(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const auto slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string below(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

bool meansContents(std::string_view path) { return path == "." || path.ends_with("/.") || path == "/" || path.ends_with("/./"); }

std::unexpected<Error> localFailure(const TreeError& error) {
  if (error.fault == TreeFault::kSystem) return fail(errnoError(error.error, error.message.substr(0, error.message.rfind(": "))));
  if (error.fault == TreeFault::kTold) return fail(ErrorCode::kUnavailable, error.message);
  if (error.fault == TreeFault::kMalformed) return fail(makeError(ErrorCode::kUnavailable, "what came is not whole: " + error.message));
  return fail(ErrorCode::kFailedPrecondition, error.message);
}

Result<std::string> hashOf(int fd, std::uint64_t bytes) {
  Hasher hasher;
  std::string buffer(kPieceBytes, '\0');
  for (std::uint64_t at = 0; at < bytes;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - at));
    const auto count = ::pread(fd, buffer.data(), want, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(errnoError(count == 0 ? ESTALE : errno, "reading what was copied already"));
    hasher.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
    at += static_cast<std::uint64_t>(count);
  }
  return hasher.finish().hex();
}

Result<bool> sameBeginning(FileApi& files, const std::string& path, int fd, std::uint64_t bytes) {
  auto theirs = files.stat(path, {{"digestBytes", fmt::format("{}", bytes)}});
  if (!theirs && (theirs.error().reason == "wrong_offset" || theirs.error().reason == "file_not_found")) return false;
  if (!theirs) return fail(std::move(theirs).error());
  GS_TRY(const auto ours, hashOf(fd, bytes));
  return textAt(*theirs, "sha256") == ours;
}

// Tries again while there is progress, with growing pauses.
template <class Attempt>
Status keepTrying(Output& out, ApiClient& api, const std::uint64_t& done, Attempt attempt) {
  std::uint64_t best = 0;
  int idle = 0;
  while (true) {
    auto result = attempt();
    if (result || !isPassing(result.error())) return result;
    idle = done > best ? 1 : idle + 1;
    best = std::max(best, done);
    if (idle >= kMaxIdleAttempts) return result;
    out.liveLine("");
    out.note(fmt::format("{}; trying again", result.error().message));
    GS_CHECK(api.pause(Millis(250 << idle)));
  }
}

struct stat localStat(const std::string& path, bool& there) {
  struct stat info{};
  there = ::stat(path.c_str(), &info) == 0;
  return info;
}

Status sendFile(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination) {
  auto held = holdPath(AT_FDCWD, source, Links::kFollow);
  if (!held) return localFailure(held.error());
  const auto file = reopenRegular(*held, O_RDONLY, source);
  if (!file) return localFailure(file.error());
  const auto info = statOf(*file, source);
  if (!info) return localFailure(info.error());
  const auto size = static_cast<std::uint64_t>(info->st_size);
  const bool resumes = size >= kLeastResumed;
  // The same source makes the same key, so that a later run finds what an earlier one sent; another version does not.
  const std::string key = Digest::of(fmt::format("{}:{}:{}:{}.{}", info->st_dev, info->st_ino, size, info->st_mtim.tv_sec, info->st_mtim.tv_nsec)).hex().substr(0, 32);
  const auto slash = destination.rfind('/');
  const std::string partial = destination.substr(0, slash + 1) + "." + destination.substr(slash + 1).substr(0, 200) + ".gs-" + key + ".part";
  Query query{{"mode", fmt::format("{:04o}", info->st_mode & 07777)},
              {"uid", fmt::format("{}", info->st_uid)},
              {"gid", fmt::format("{}", info->st_gid)},
              {"modifiedAt", fileTimeText({info->st_mtim.tv_sec, static_cast<std::uint32_t>(info->st_mtim.tv_nsec)})}};
  if (resumes) query.emplace_back("upload", key);
  const SystemClock clock;
  Progress progress(out, clock, "uploading", size);
  std::uint64_t at = 0;
  const auto attempt = [&]() -> Status {
    std::uint64_t offset = 0;
    if (resumes) {
      GS_TRY(const auto there, files.find(partial));
      const auto present = there ? std::min(size, static_cast<std::uint64_t>(numberAt(*there, "sizeBytes"))) : 0;
      if (present > 0) {
        GS_TRY(const bool same, sameBeginning(files, partial, file->get(), present));
        if (same) offset = present;
      }
    }
    at = offset;
    Query whole = query;
    if (offset > 0) whole.emplace_back("offset", fmt::format("{}", offset));
    GS_TRY(const Json written, files.write(destination, std::move(whole), size - offset, [&]() -> Result<std::string> {
             std::string piece(kPieceBytes, '\0');
             const auto count = ::pread(file->get(), piece.data(), piece.size(), static_cast<off_t>(at));
             if (count < 0) return fail(errnoError(errno, "reading " + source));
             piece.resize(static_cast<std::size_t>(count));
             struct stat now{};
             const bool last = at + piece.size() >= size;
             const bool changed = last && (::fstat(file->get(), &now) != 0 || now.st_size != info->st_size ||
                                           now.st_mtim.tv_sec != info->st_mtim.tv_sec || now.st_mtim.tv_nsec != info->st_mtim.tv_nsec);
             if (changed || at + piece.size() > size || (piece.empty() && at < size)) {
               return fail(ErrorCode::kAborted, source + " changed while it was sent");
             }
             at += piece.size();
             progress.update(at);
             return piece;
           }));
    static_cast<void>(written);
    return {};
  };
  GS_CHECK(keepTrying(out, api, at, attempt));
  progress.update(size);
  progress.finish("uploaded");
  return {};
}

Status sendTree(FileApi& files, Output& out, const std::string& source, const std::string& destination, TreePacker::Named named) {
  auto packer = TreePacker::open(source, named, TreePacker::Special::kPassOver);
  if (!packer) return localFailure(packer.error());
  const SystemClock clock;
  Progress progress(out, clock, "uploading", std::nullopt);
  const auto written = files.writeTree(destination, [&]() -> Result<std::string> {
    std::string piece(kPieceBytes, '\0');
    const auto count = packer->read(piece);
    if (!count) return localFailure(count.error());
    piece.resize(*count);
    progress.update(packer->fileBytes());
    return piece;
  });
  if (!written) return fail(written.error());
  progress.update(packer->fileBytes());
  progress.finish(fmt::format("uploaded {} entries,", packer->entries()));
  if (packer->passedOver() > 0) out.note(fmt::format("passed over: {} sockets, FIFOs and devices", packer->passedOver()));
  return {};
}

Status takeAttributes(int fd, const Json& info, const std::string& name) {
  if (::fchmod(fd, static_cast<mode_t>(std::strtoul(textAt(info, "mode").c_str(), nullptr, 8) & 0777)) != 0) return fail(errnoError(errno, "setting the mode of " + name));
  GS_TRY(const auto time, parseFileTime(textAt(info, "modifiedAt")));
  const timespec times[2] = {{0, UTIME_OMIT}, {time.seconds, static_cast<long>(time.nanos)}};
  if (::futimens(fd, times) != 0) return fail(errnoError(errno, "setting the time of " + name));
  return {};
}

// One version of a remote file into its partial file here, and into place.
Status receiveVersion(FileApi& files, const std::string& source, const std::string& destination, const Json& info, Progress& progress,
                      std::uint64_t& at) {
  const std::string version = textAt(info, "version");
  const auto size = static_cast<std::uint64_t>(numberAt(info, "sizeBytes"));
  const auto slash = destination.rfind('/');
  const auto split = slash == std::string::npos ? 0 : slash + 1;
  const std::string partial = destination.substr(0, split) + "." + destination.substr(split).substr(0, 200) + ".gs-" +
                              Digest::of(version).hex().substr(0, 32) + ".part";
  OwnedFd file(::open(partial.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
  if (!file.isOpen()) return fail(fileError(errno, "cannot write " + partial));
  struct stat present{};
  if (::fstat(file.get(), &present) != 0 || !S_ISREG(present.st_mode)) return fail(ErrorCode::kFailedPrecondition, partial + " is no regular file");
  at = std::min(size, static_cast<std::uint64_t>(present.st_size));
  if (at > 0) {
    GS_TRY(const bool same, sameBeginning(files, source, file.get(), at));
    if (!same) at = 0;
  }
  if (::ftruncate(file.get(), static_cast<off_t>(at)) != 0) return fail(errnoError(errno, "writing " + partial));
  HoleyWriter writer(at);
  if (at < size || size == 0) {
    const auto received = files.read(source, at, version, [&](std::string_view piece) -> Status {
      if (auto written = writer.write(file.get(), piece, partial); !written) return localFailure(written.error());
      at = writer.offset();
      progress.update(at);
      return {};
    });
    // Also of what broke off: the next attempt finds it by its length.
    if (auto whole = writer.finish(file.get(), partial); !whole) return localFailure(whole.error());
    if (!received) return fail(received.error());
  }
  GS_CHECK(takeAttributes(file.get(), info, destination));
  if (::rename(partial.c_str(), destination.c_str()) != 0) return fail(fileError(errno, "cannot put " + destination + " in place"));
  return {};
}

Status receiveFile(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination, Json info) {
  const SystemClock clock;
  Progress progress(out, clock, "downloading", static_cast<std::uint64_t>(numberAt(info, "sizeBytes")));
  std::uint64_t at = 0;
  GS_CHECK(keepTrying(out, api, at, [&]() -> Status {
    auto received = receiveVersion(files, source, destination, info, progress, at);
    if (received || received.error().reason != "file_changed") return received;
    // Another one by now: begin anew with that.
    GS_TRY(info, files.stat(source, {{"follow", "true"}}));
    return fail(ErrorCode::kUnavailable, received.error().message);
  }));
  progress.update(at);
  progress.finish("downloaded");
  return {};
}

Status receiveTree(FileApi& files, Output& out, const std::string& source, const std::string& destination, bool contents) {
  OwnedFd directory(::open(destination.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.isOpen()) return fail(fileError(errno, "cannot open " + destination));
  TreeExtractor extractor(std::move(directory), {.owners = ExtractRules::Owners::kOurs,
                                                 .special = ExtractRules::Special::kPassOver,
                                                 .top = ExtractRules::Top::kKeep,
                                                 .modeMask = 0777});
  const SystemClock clock;
  Progress progress(out, clock, "downloading", std::nullopt);
  GS_CHECK(files.readTree(source, contents, [&](std::string_view piece) -> Status {
    if (auto fed = extractor.feed(piece); !fed) return localFailure(fed.error());
    progress.update(extractor.fileBytes());
    return {};
  }));
  if (auto whole = extractor.finish(); !whole) return localFailure(whole.error());
  progress.update(extractor.fileBytes());
  progress.finish(fmt::format("downloaded {} entries,", extractor.entries()));
  if (extractor.passedOver() > 0) out.note(fmt::format("passed over: {} FIFOs, devices and hard links", extractor.passedOver()));
  return {};
}

}  // namespace

std::optional<RemotePath> parseRemotePath(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || text.substr(0, colon).contains('/')) return std::nullopt;
  std::string path(text.substr(colon + 1));
  if (!path.starts_with('/')) path = "/" + path;
  return RemotePath{std::string(text.substr(0, colon)), std::move(path)};
}

Status copyIn(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination) {
  bool there = false;
  const auto info = localStat(source, there);
  if (!there) return fail(fileError(errno, "cannot find " + source));
  GS_TRY(const auto target, files.find(destination));
  const bool intoDirectory = target && textAt(*target, "type") == "directory";
  if (S_ISDIR(info.st_mode)) {
    if (target && !intoDirectory) return fail(ErrorCode::kFailedPrecondition, fmt::format("{} is a directory, and {} is not", source, destination));
    const bool contents = !target || meansContents(source);
    return sendTree(files, out, source, destination, contents ? TreePacker::Named::kContentsOnly : TreePacker::Named::kByItsName);
  }
  if (!intoDirectory && destination.ends_with('/')) return fail(ErrorCode::kNotFound, fmt::format("there is no directory {} in the sandbox", destination));
  return sendFile(files, out, api, source, intoDirectory ? below(destination, lastPart(source)) : destination);
}

Status copyOut(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination) {
  GS_TRY(Json info, files.stat(source, {{"follow", "true"}}));
  bool there = false;
  const auto target = localStat(destination, there);
  const bool intoDirectory = there && S_ISDIR(target.st_mode);
  if (textAt(info, "type") == "directory") {
    if (there && !intoDirectory) return fail(ErrorCode::kFailedPrecondition, fmt::format("{} is a directory, and {} is not", source, destination));
    std::string into = destination;
    if (intoDirectory && !meansContents(source)) {
      into = below(destination, lastPart(source));
      bool already = false;
      const auto inside = localStat(into, already);
      if (already && !S_ISDIR(inside.st_mode)) return fail(ErrorCode::kFailedPrecondition, into + " is not a directory");
      there = already;
    }
    if (!there && ::mkdir(into.c_str(), 0755) != 0) return fail(fileError(errno, "cannot make " + into));
    return receiveTree(files, out, source, into, true);
  }
  if (!intoDirectory && destination.ends_with('/')) return fail(ErrorCode::kNotFound, fmt::format("there is no directory {}", destination));
  return receiveFile(files, out, api, source, intoDirectory ? below(destination, lastPart(source)) : destination, std::move(info));
}

}  // namespace gs::cli

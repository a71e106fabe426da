#include "cli/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/json.h"

namespace gs::cli {
namespace {

constexpr std::size_t kMaxConfigBytes = 64 * 1024;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Result<std::optional<std::string>> readSmallFile(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return fail(fileError(errno, "cannot open " + path));
  }
  std::string text(kMaxConfigBytes + 1, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + used, text.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(fileError(errno, "cannot read " + path));
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  if (used > kMaxConfigBytes) return fail(ErrorCode::kInvalidArgument, path + " is too large to be a login");
  text.resize(used);
  return std::optional(std::move(text));
}

Status writeAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(fileError(errno, "cannot write " + path));
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Status makeParents(const std::filesystem::path& file) {
  const auto parent = file.parent_path();
  if (parent.empty() || ::access(parent.c_str(), F_OK) == 0) return {};
  GS_CHECK(makeParents(parent));
  if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(fileError(errno, "cannot create " + parent.string()));
  }
  return {};
}

Status syncDirectory(const std::filesystem::path& directory) {
  const FileDescriptor fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems refuse to sync a directory; the rename is done then all the same.
  if (fd.get() < 0 || (::fsync(fd.get()) != 0 && errno != EINVAL)) {
    return fail(fileError(errno, "cannot sync " + directory.string()));
  }
  return {};
}

Status replaceFile(const std::string& path, std::string_view text) {
  std::error_code ignored;
  const bool isLink = std::filesystem::is_symlink(path, ignored);
  const auto resolved = isLink ? std::filesystem::canonical(path, ignored) : std::filesystem::path(path);
  const std::string target = resolved.empty() ? path : resolved.string();
  GS_CHECK(makeParents(target));
  const std::string temporary = fmt::format("{}.{}.new", target, randomIdChars(8));
  FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return fail(fileError(errno, "cannot create " + temporary));
  Status written = writeAll(file.get(), text, temporary);
  if (written && ::fsync(file.get()) != 0) written = fail(fileError(errno, "cannot sync " + temporary));
  // A close can report what a write did not (a network file system, a quota).
  if (::close(file.release()) != 0 && written) written = fail(fileError(errno, "cannot write " + temporary));
  if (written && ::rename(temporary.c_str(), target.c_str()) != 0) {
    written = fail(fileError(errno, "cannot replace " + target));
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return syncDirectory(std::filesystem::path(target).parent_path());
}

Error notLoggedIn() {
  return makeError(ErrorCode::kUnauthenticated, "not logged in")
      .withFix("run gstacks auth login, or set GSTACKS_API_KEY");
}

}  // namespace

Error fileError(int err, std::string_view what) {
  Error error = errnoError(err, what);
  const bool ofTheName = err == EISDIR || err == ENOTDIR || err == ELOOP || err == EROFS || err == ENXIO;
  if (ofTheName || error.code == ErrorCode::kNotFound || error.code == ErrorCode::kPermissionDenied) {
    error.code = ErrorCode::kInvalidArgument;
  }
  return error;
}

Environment processEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  };
}

Result<std::string> configPath(const std::string& fromOption, const Environment& environment) {
  if (!fromOption.empty()) return fromOption;
  if (auto path = environment("GSTACKS_CONFIG_FILE")) return *path;
  if (auto base = environment("XDG_CONFIG_HOME")) return *base + "/gstacks/config.json";
  if (auto home = environment("HOME")) return *home + "/.config/gstacks/config.json";
  return fail(makeError(ErrorCode::kFailedPrecondition, "there is no home directory to keep the login in")
                  .withFix("set HOME or GSTACKS_CONFIG_FILE, or use --config-file"));
}

Result<std::optional<Login>> loadLogin(const std::string& path) {
  GS_TRY(const auto text, readSmallFile(path));
  if (!text) return std::optional<Login>();
  const auto read = [&]() -> Result<Login> {
    GS_TRY(const Json json, parseJson(*text));
    Login login;
    GS_TRY(login.baseUrl, getString(json, "baseUrl"));
    GS_TRY(std::string key, getString(json, "apiKey"));
    login.apiKey = SecretString(std::move(key));
    GS_TRY(auto ca, findString(json, "caFile"));
    login.caFile = std::move(ca).value_or("");
    return login;
  };
  auto login = read();
  if (!login) {
    return fail(
        makeError(ErrorCode::kInvalidArgument, fmt::format("{} is not a login file: {}", path, login.error().message))
            .withFix("run gstacks auth login, which writes it anew"));
  }
  return std::optional(std::move(*login));
}

Status saveLogin(const std::string& path, const Login& login) {
  Json json{{"baseUrl", login.baseUrl}, {"apiKey", std::string(login.apiKey.reveal())}};
  if (!login.caFile.empty()) json["caFile"] = login.caFile;
  return replaceFile(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<bool> removeLogin(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return fail(fileError(errno, "cannot remove " + path));
}

Result<Login> effectiveLogin(const std::optional<Login>& stored, const Environment& environment) {
  Login login = stored.value_or(Login{});
  if (login.baseUrl.empty()) login.baseUrl = kDefaultBaseUrl;
  const auto key = environment("GSTACKS_API_KEY");
  const auto url = environment("GSTACKS_BASE_URL");
  if (key) login.apiKey = SecretString(*key);
  if (url && *url != login.baseUrl) {
    if (!key && stored) {
      return fail(
          makeError(ErrorCode::kUnauthenticated,
                    fmt::format("the stored API key is for {}, but GSTACKS_BASE_URL says {}", login.baseUrl, *url))
              .withFix("set GSTACKS_API_KEY as well, or unset GSTACKS_BASE_URL, or log in there"));
    }
    login.baseUrl = *url;
    login.caFile.clear();
  }
  if (const auto ca = environment("GSTACKS_CA_FILE")) login.caFile = *ca;
  if (login.apiKey.empty()) return fail(notLoggedIn());
  return login;
}

bool isReadableByOthers(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && (info.st_mode & 0077) != 0;
}

}  // namespace gs::cli

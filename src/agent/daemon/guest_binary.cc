#include "agent/daemon/guest_binary.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/digest.h"
#include "base/encoding.h"

namespace gs {
namespace fs = std::filesystem;

std::string defaultGuestPath() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? "/usr/lib/gstacks/gstacks-guest" : (self.parent_path() / "gstacks-guest").string();
}

namespace {

Result<std::string> readGuest(const std::string& source) {
  std::ifstream in(source, std::ios::binary);
  if (!in) {
    return fail(makeError(ErrorCode::kNotFound, "there is no guest program at " + source)
                    .withFix("install gstacks-guest beside gstacks-agent, or set guestPath"));
  }
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

fs::path placeOf(const AgentPaths& paths, const std::string& bytes) {
  return fs::path(paths.guestDir()) / Digest::of(bytes).hex() / "gstacks-guest";
}

}  // namespace

Result<std::string> storedGuestPath(const AgentPaths& paths, const std::string& source) {
  GS_TRY(const auto bytes, readGuest(source));
  return placeOf(paths, bytes).string();
}

Result<std::string> storeGuestBinary(const AgentPaths& paths, const std::string& source) {
  GS_TRY(const std::string bytes, readGuest(source));
  if (!bytes.starts_with("\x7f"
                         "ELF")) {
    return fail(ErrorCode::kInvalidArgument, source + " is not a program");
  }
  const fs::path target = placeOf(paths, bytes);
  const fs::path folder = target.parent_path();
  std::error_code error;
  if (fs::exists(target, error) && fs::file_size(target, error) == bytes.size()) return target.string();
  fs::create_directories(folder, error);
  const fs::path temporary = folder / ("new-" + toHex(randomBytes(6)));
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  if (fd < 0) return fail(errnoError(errno, "writing " + temporary.string()));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (wrote <= 0) {
      const int failure = errno;
      ::close(fd);
      ::unlink(temporary.c_str());
      return fail(errnoError(failure, "writing " + temporary.string()));
    }
    done += static_cast<std::size_t>(wrote);
  }
  ::fsync(fd);
  // The sandbox's user may be anyone, and must be able to execute it.
  ::fchmod(fd, 0755);
  ::close(fd);
  fs::rename(temporary, target, error);
  if (error) return fail(errnoError(error.value(), "storing the guest program"));
  return target.string();
}

}  // namespace gs

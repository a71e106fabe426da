#include "guest/user_lookup.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "guest/text.h"
#include "guest/unique_fd.h"

namespace gs::guest {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
constexpr std::size_t kMaxGroups = 1024;
// (uid_t)-1 means "leave as it is" to setresuid(2), so it names nobody.
constexpr std::uint32_t kMaxId = 0xffff'fffe;

std::optional<std::uint32_t> parseId(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMaxId) return std::nullopt;
  return value;
}

std::string_view takeUntil(std::string_view& rest, char separator) {
  const auto at = rest.find(separator);
  const auto head = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return head;
}

template <std::size_t N>
std::array<std::string_view, N> splitLine(std::string_view line) {
  std::array<std::string_view, N> fields;
  for (auto& field : fields) field = takeUntil(line, ':');
  return fields;
}

// name:password:uid:gid:comment:home:shell
std::optional<User> findInPasswd(std::string_view wanted, std::string_view passwd) {
  const auto number = parseId(wanted);
  std::optional<User> byNumber;
  while (!passwd.empty()) {
    const auto fields = splitLine<7>(takeUntil(passwd, '\n'));
    const auto uid = parseId(fields[2]);
    const auto gid = parseId(fields[3]);
    if (fields[0].empty() || !uid || !gid) continue;
    const bool named = fields[0] == wanted;
    if (!named && (byNumber || uid != number)) continue;
    User user;
    user.uid = *uid;
    user.gid = *gid;
    user.name = fields[0];
    if (fields[5].starts_with('/')) user.home = fields[5];
    if (fields[6].starts_with('/')) user.shell = fields[6];
    if (named) return user;
    byNumber = std::move(user);
  }
  return byNumber;
}

// name:password:gid:member,member
std::optional<gid_t> findInGroup(std::string_view wanted, std::string_view group) {
  const auto number = parseId(wanted);
  while (!group.empty()) {
    const auto fields = splitLine<4>(takeUntil(group, '\n'));
    const auto gid = parseId(fields[2]);
    if (!fields[0].empty() && gid && fields[0] == wanted) return gid;
  }
  return number;
}

std::vector<gid_t> groupsOf(std::string_view name, std::string_view group) {
  std::vector<gid_t> gids;
  while (!group.empty() && gids.size() < kMaxGroups) {
    const auto fields = splitLine<4>(takeUntil(group, '\n'));
    const auto gid = parseId(fields[2]);
    if (!gid) continue;
    for (auto members = fields[3]; !members.empty();) {
      if (takeUntil(members, ',') != name) continue;
      gids.push_back(*gid);
      break;
    }
  }
  std::ranges::sort(gids);
  gids.erase(std::ranges::unique(gids).begin(), gids.end());
  return gids;
}

std::string readBounded(const char* path) {
  // O_NONBLOCK: the sandbox may have put a FIFO there, and opening one waits for a writer.
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (!file.isOpen() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  std::string text(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), kMaxFileBytes), '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const auto count = ::read(file.get(), text.data() + have, text.size() - have);
    if (count <= 0) break;
    have += static_cast<std::size_t>(count);
  }
  text.resize(have);
  return text;
}

}  // namespace

std::expected<User, std::string> findUser(std::string_view wanted, std::string_view passwd, std::string_view group) {
  const auto colon = wanted.find(':');
  const auto userPart = wanted.substr(0, colon);
  User user;
  if (!userPart.empty()) {
    if (auto found = findInPasswd(userPart, passwd)) {
      user = std::move(*found);
    } else if (const auto number = parseId(userPart)) {
      user.uid = *number;
    } else {
      return std::unexpected("no user " + quoted(userPart) + " in the sandbox's /etc/passwd");
    }
  }
  if (colon == std::string_view::npos) {
    if (!user.name.empty()) user.groups = groupsOf(user.name, group);
    return user;
  }
  const auto groupPart = wanted.substr(colon + 1);
  const auto gid = findInGroup(groupPart, group);
  if (!gid) return std::unexpected("no group " + quoted(groupPart) + " in the sandbox's /etc/group");
  user.gid = *gid;
  return user;
}

std::expected<User, std::string> lookUpUser(std::string_view wanted) {
  return findUser(wanted, readBounded("/etc/passwd"), readBounded("/etc/group"));
}

}  // namespace gs::guest

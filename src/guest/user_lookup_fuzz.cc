// The sandbox's /etc/passwd and /etc/group may hold anything. Three texts, separated by 0xff.
#include <cstdint>
#include <cstdlib>

#include "guest/user_lookup.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto take = [&rest] {
    const auto at = rest.find('\xff');
    const auto head = rest.substr(0, at);
    rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
    return head;
  };
  const auto wanted = take();
  const auto passwd = take();
  const auto user = gs::guest::findUser(wanted, passwd, rest);
  if (!user) return 0;
  if (user->groups.size() > 1024 || !user->home.starts_with('/')) std::abort();
  if (user->uid == static_cast<uid_t>(-1) || user->gid == static_cast<gid_t>(-1)) std::abort();
  return 0;
}

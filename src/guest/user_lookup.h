// Who a process runs as: "name", "uid", "name:group" or "uid:gid" against the sandbox's own files, without NSS.
//
// A static binary must not load libnss, and the image's libc is none of our business. The files belong to the sandbox
// and may hold anything, so they are read with bounds (1 MiB, regular files only) and bad lines are passed over.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace gs::guest {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary; sorted, without repeats, at most 1,024
  std::string name;           // empty when the number is not listed
  std::string home = "/";
  std::string shell{};  // empty when not listed or the field is empty
  friend bool operator==(const User&, const User&) = default;
};

// Pure. Rules: a listed name wins over a number; an unlisted number is taken as it is with group 0; a group that is asked
// for replaces the user's own and the supplementary ones. The error is a sentence.
[[nodiscard]] std::expected<User, std::string> findUser(std::string_view wanted, std::string_view passwd,
                                                        std::string_view group);

// The same with /etc/passwd and /etc/group; a file that is absent or no regular file counts as empty.
[[nodiscard]] std::expected<User, std::string> lookUpUser(std::string_view wanted);

}  // namespace gs::guest

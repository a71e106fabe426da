// The environment of a process: what the sandbox gives to all, under what the process's own spec says, over defaults.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gs::guest {

struct User;

// Where programs are looked for when nobody says: the value that Docker and login(1) give to root.
inline constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Pure. Later wins over earlier and `own` over `shared`; the place of the first is kept. Entries without a name are
// dropped. HOME, USER (when the user has a name) and PATH are added when nobody set them; an empty value counts as set.
[[nodiscard]] std::vector<std::string> mergeEnvironment(std::span<const std::string> shared,
                                                        std::span<const std::string> own, const User& user);

// The value, or empty.
[[nodiscard]] std::string_view findVariable(std::span<const std::string> environment, std::string_view name);

// Files to try for `program`, in order: itself when it holds a slash, else one for each directory of PATH (an empty one
// is the current directory, as POSIX says). At most 64.
[[nodiscard]] std::vector<std::string> programCandidates(std::string_view program, std::string_view path);

}  // namespace gs::guest

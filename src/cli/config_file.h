// The login that `gstacks auth login` leaves behind: which server, and the key for it.
//
// One JSON file, mode 0600, replaced atomically (temporary file, fsync, rename), so that a crash or a full disk leaves
// the old login or the new one. A key belongs to the server that it was stored for and is never sent to another.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/secret.h"

namespace gs::cli {

inline constexpr std::string_view kDefaultBaseUrl = "http://127.0.0.1:8080";

struct Login {
  std::string baseUrl;
  SecretString apiKey;
  std::string caFile;  // CA certificates for an https server; empty: those of the system
};

// Looks a variable up in the environment; unset and empty are the same.
using Environment = std::function<std::optional<std::string>(const char*)>;
[[nodiscard]] Environment processEnvironment();

// --config-file, else GSTACKS_CONFIG_FILE, else $XDG_CONFIG_HOME/gstacks/config.json, else
// ~/.config/gstacks/config.json. kFailedPrecondition when there is no home directory either.
[[nodiscard]] Result<std::string> configPath(const std::string& fromOption, const Environment& environment);

// Nothing when there is no file. kInvalidArgument when it is no login file, with the fix.
[[nodiscard]] Result<std::optional<Login>> loadLogin(const std::string& path);
// Makes the directory (0700) when it is missing. A symbolic link is followed, not replaced.
[[nodiscard]] Status saveLogin(const std::string& path, const Login& login);
// True when there was one. Repeat is harmless.
[[nodiscard]] Result<bool> removeLogin(const std::string& path);

// The file's login with GSTACKS_BASE_URL and GSTACKS_API_KEY put over it. kUnauthenticated when there is no key, and
// when the stored key would go to another server than the one it was stored for.
[[nodiscard]] Result<Login> effectiveLogin(const std::optional<Login>& stored, const Environment& environment);

// True when others than the owner may read the file.
[[nodiscard]] bool isReadableByOthers(const std::string& path);

// From errno, for a file that the user named: what is wrong with the name or its rights is kInvalidArgument, since
// kNotFound and kPermissionDenied speak of things on the server here.
[[nodiscard]] Error fileError(int err, std::string_view what);

}  // namespace gs::cli

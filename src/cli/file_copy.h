// `sandbox cp`: one file or tree between this machine and a sandbox.
//
// A large file that breaks off is taken up again where it stopped, in the same run (while there is progress) and in a later
// one: what is there already is compared by SHA-256, and a source that is another by now (size, time) begins anew. What
// comes from a sandbox is hostile: nothing is written outside the destination, whatever names and links it sends.
#pragma once

#include <string>

#include "cli/file_api.h"
#include "cli/output.h"

namespace gs::cli {

// "web:/etc" as sandbox and path, "web:etc" as below "/"; nothing for a path of this machine ("a", "/a:b", "./a:b").
struct RemotePath {
  std::string sandbox;
  std::string path;
};
[[nodiscard]] std::optional<RemotePath> parseRemotePath(std::string_view text);

// `source` is a file or directory of this machine ("d/." is what is in d). A destination that is a directory gets it under
// its own name. kNotFound, kInvalidArgument, and the API's.
[[nodiscard]] Status copyIn(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination);
[[nodiscard]] Status copyOut(FileApi& files, Output& out, ApiClient& api, const std::string& source, const std::string& destination);

}  // namespace gs::cli

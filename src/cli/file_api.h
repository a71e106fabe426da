// The file operations of one sandbox, for commands: blocking, with bodies that are never whole in memory.
//
// Paths are bytes. Errors are those of the API (see failure.h).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <optional>
#include <string>

#include "cli/api_client.h"

namespace gs::cli {

class FileApi {
 public:
  FileApi(ApiClient& api, std::string_view sandboxId, std::optional<Millis> timeout)
      : api_(api), base_("/api/sandboxes/" + std::string(sandboxId) + "/files"), timeout_(timeout) {}

  // Gives pieces of a body, empty at its end.
  using Pull = std::function<Result<std::string>()>;
  using Push = std::function<Status(std::string_view)>;

  [[nodiscard]] Result<Json> stat(const std::string& path, Query query = {});
  // Nothing when nothing is there.
  [[nodiscard]] Result<std::optional<Json>> find(const std::string& path);
  [[nodiscard]] Result<std::vector<Json>> list(const std::string& path);
  [[nodiscard]] Status remove(const std::string& path, bool recursive);
  [[nodiscard]] Result<Json> makeDirectory(const std::string& path, Query query);

  // From `offset` on, of that version when one is named.
  [[nodiscard]] Status read(const std::string& path, std::uint64_t offset, const std::string& version, const Push& push);
  [[nodiscard]] Result<Json> write(const std::string& path, Query query, std::uint64_t sizeBytes, Pull pull);
  [[nodiscard]] Status readTree(const std::string& path, bool contents, const Push& push);
  [[nodiscard]] Result<Json> writeTree(const std::string& path, Pull pull);

 private:
  [[nodiscard]] Status download(std::string target, std::string range, const Push& push);
  [[nodiscard]] Result<Json> upload(std::string target, std::string contentType, std::optional<std::uint64_t> sizeBytes, Pull pull);

  ApiClient& api_;
  std::string base_;
  std::optional<Millis> timeout_;
};

// `path` or `pathBase64` as the API wants it.
[[nodiscard]] std::pair<std::string, std::string> pathParameter(std::string_view path);
// The bytes of a name in an answer: `key`, or `keyBase64` where there is one.
[[nodiscard]] std::string nameAt(const Json& object, const std::string& key);

}  // namespace gs::cli

// The kinds of things that the API keeps, and how a reference by a person (id or name) becomes one of them.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <string>
#include <string_view>

#include "base/json.h"
#include "cli/api_client.h"

namespace gs::cli {

struct ResourceKind {
  std::string_view noun;         // "sandbox"
  std::string_view idPrefix;     // "sbx"
  std::string_view collection;   // "/api/sandboxes"
  std::string_view listCommand;  // "gstacks sandbox list"
};

extern const ResourceKind kHosts;
extern const ResourceKind kClusters;
extern const ResourceKind kTokens;
extern const ResourceKind kApiKeys;
extern const ResourceKind kBlueprints;
extern const ResourceKind kSandboxes;

// Path of one thing. `id` must be an id.
[[nodiscard]] std::string resourcePath(const ResourceKind& kind, std::string_view id);

// The id that is meant: `reference` itself when it has the form of one (no request is made), else that of the thing
// with this name. Revoked things do not answer to their name. kNotFound names the list command; an id of another kind
// and a text that can be neither id nor name are kInvalidArgument.
[[nodiscard]] Result<std::string> resolveId(ApiClient& api, const ResourceKind& kind, const std::string& reference);
// The whole thing, by id or name.
[[nodiscard]] Result<Json> fetchResource(ApiClient& api, const ResourceKind& kind, const std::string& reference);
// The cluster that machines join by default.
[[nodiscard]] Result<std::string> defaultClusterId(ApiClient& api);

// Names by id, for tables. Empty when they cannot be read: a table then shows ids.
[[nodiscard]] std::map<std::string, std::string> namesById(ApiClient& api, const ResourceKind& kind);
[[nodiscard]] std::string nameOr(const std::map<std::string, std::string>& names, const std::string& id);

// Members for display: "" or 0 when absent or of another type. `path` may descend: "os.name".
[[nodiscard]] std::string textAt(const Json& object, std::string_view path);
[[nodiscard]] std::int64_t numberAt(const Json& object, std::string_view path);
[[nodiscard]] bool truthAt(const Json& object, std::string_view path);
[[nodiscard]] bool has(const Json& object, std::string_view path);
// {"a":"1"} as "a=1", in order of keys; ["a","b"] as "a", "b".
[[nodiscard]] std::vector<std::string> linesAt(const Json& object, std::string_view path);

// "K=V" into name and value; kInvalidArgument without "=" or name.
[[nodiscard]] Result<std::pair<std::string, std::string>> parsePair(const std::string& text);
// Many "K=V" into a JSON object; the last of a name wins. `option` names the option in the error.
[[nodiscard]] Result<Json> pairsToJson(const std::vector<std::string>& pairs, std::string_view option);

}  // namespace gs::cli

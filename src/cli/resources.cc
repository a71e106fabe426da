#include "cli/resources.h"

#include <nlohmann/json.hpp>

#include "base/ids.h"

namespace gs::cli {

const ResourceKind kHosts{"host", "hst", "/api/hosts", "gstacks host list"};
const ResourceKind kClusters{"cluster", "clu", "/api/clusters", "gstacks cluster list"};
const ResourceKind kTokens{"provisioning token", "tok", "/api/provisioning-tokens", "gstacks token list"};
const ResourceKind kApiKeys{"API key", "key", "/api/api-keys", "gstacks api-key list"};
const ResourceKind kBlueprints{"blueprint", "bpt", "/api/blueprints", "gstacks blueprint list"};
const ResourceKind kSandboxes{"sandbox", "sbx", "/api/sandboxes", "gstacks sandbox list"};

namespace {

bool isName(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  return std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

bool isDigest(std::string_view text) {
  return text.starts_with("sha256:");
}

const Json* memberAt(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (true) {
    if (!at->is_object()) return nullptr;
    const auto dot = path.find('.');
    const auto found = at->find(path.substr(0, dot));
    if (found == at->end()) return nullptr;
    at = &*found;
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

Status checkReference(const ResourceKind& kind, const std::string& reference) {
  if (isName(reference) || isIdText(kind.idPrefix, reference)) return {};
  if (&kind == &kBlueprints && isDigest(reference)) return {};
  return fail(
      makeError(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is neither the id nor the name of a {}", reference, kind.noun))
          .withFix(fmt::format("ids look like {}_0123456789abcdefghjk; see {}", kind.idPrefix, kind.listCommand)));
}

Result<Json> findByName(ApiClient& api, const ResourceKind& kind, const std::string& reference) {
  const std::string_view member = isDigest(reference) ? "digest" : "name";
  const auto matches = [&](const Json& item) { return textAt(item, member) == reference && !has(item, "revokedAt"); };
  GS_TRY(auto items, api.list(std::string(kind.collection), {}, matches));
  if (!items.empty() && matches(items.back())) return std::move(items.back());
  return fail(
      makeError(ErrorCode::kNotFound, fmt::format("there is no {} with the {} '{}'", kind.noun, member, reference))
          .withFix(fmt::format("see {}", kind.listCommand)));
}

}  // namespace

std::string resourcePath(const ResourceKind& kind, std::string_view id) {
  return fmt::format("{}/{}", kind.collection, percentEncode(id));
}

Result<std::string> resolveId(ApiClient& api, const ResourceKind& kind, const std::string& reference) {
  GS_CHECK(checkReference(kind, reference));
  if (isIdText(kind.idPrefix, reference)) return reference;
  GS_TRY(const Json item, findByName(api, kind, reference));
  return getString(item, "id");
}

Result<Json> fetchResource(ApiClient& api, const ResourceKind& kind, const std::string& reference) {
  GS_CHECK(checkReference(kind, reference));
  if (!isIdText(kind.idPrefix, reference)) return findByName(api, kind, reference);
  return api.get(resourcePath(kind, reference));
}

Result<std::string> defaultClusterId(ApiClient& api) {
  const auto isDefault = [](const Json& cluster) { return truthAt(cluster, "isDefault"); };
  GS_TRY(const auto clusters, api.list(std::string(kClusters.collection), {}, isDefault));
  if (clusters.empty() || !isDefault(clusters.back())) return fail(ErrorCode::kNotFound, "there is no default cluster");
  return getString(clusters.back(), "id");
}

std::map<std::string, std::string> namesById(ApiClient& api, const ResourceKind& kind) {
  std::map<std::string, std::string> names;
  const auto items = api.list(std::string(kind.collection));
  if (!items) return names;
  for (const auto& item : *items) names.emplace(textAt(item, "id"), textAt(item, "name"));
  return names;
}

std::string nameOr(const std::map<std::string, std::string>& names, const std::string& id) {
  const auto found = names.find(id);
  return found == names.end() || found->second.empty() ? id : found->second;
}

std::string textAt(const Json& object, std::string_view path) {
  const Json* member = memberAt(object, path);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

std::int64_t numberAt(const Json& object, std::string_view path) {
  const Json* member = memberAt(object, path);
  return member != nullptr && member->is_number_integer() ? member->get<std::int64_t>() : 0;
}

bool truthAt(const Json& object, std::string_view path) {
  const Json* member = memberAt(object, path);
  return member != nullptr && member->is_boolean() && member->get<bool>();
}

bool has(const Json& object, std::string_view path) {
  return memberAt(object, path) != nullptr;
}

std::vector<std::string> linesAt(const Json& object, std::string_view path) {
  std::vector<std::string> lines;
  const Json* member = memberAt(object, path);
  if (member == nullptr) return lines;
  if (member->is_array()) {
    for (const auto& item : *member) {
      if (item.is_string()) lines.push_back(item.get<std::string>());
    }
  } else if (member->is_object()) {
    for (const auto& [key, value] : member->items()) {
      if (value.is_string()) lines.push_back(fmt::format("{}={}", key, value.get<std::string>()));
    }
  }
  return lines;
}

Result<std::pair<std::string, std::string>> parsePair(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not of the form NAME=VALUE", text));
  }
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

Result<Json> pairsToJson(const std::vector<std::string>& pairs, std::string_view option) {
  Json object = Json::object();
  for (const auto& pair : pairs) {
    auto parsed = parsePair(pair);
    if (!parsed) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", option, parsed.error().message));
    object[parsed->first] = parsed->second;
  }
  return object;
}

}  // namespace gs::cli

#include "server/api/router.h"

namespace gs {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    out.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

bool isParameter(std::string_view segment) { return segment.starts_with('{') && segment.ends_with('}'); }

// The number of literal segments, or nothing when it does not match.
std::optional<std::size_t> literalsMatched(const Operation& operation, const std::vector<std::string_view>& path) {
  if (operation.segments.size() != path.size()) return std::nullopt;
  std::size_t literals = 0;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (isParameter(operation.segments[i])) {
      if (path[i].empty()) return std::nullopt;
    } else if (operation.segments[i] == path[i]) {
      ++literals;
    } else {
      return std::nullopt;
    }
  }
  return literals;
}

}  // namespace

Route Router::match(std::string_view method, std::string_view path) const {
  const auto segments = split(path);
  std::size_t best = 0;
  std::vector<const Operation*> candidates;
  for (const auto& operation : contract_.operations()) {
    const auto literals = literalsMatched(operation, segments);
    if (!literals || *literals < best) continue;
    if (*literals > best) candidates.clear();
    best = *literals;
    candidates.push_back(&operation);
  }
  Route route;
  for (const Operation* each : candidates) {
    route.allowed += (route.allowed.empty() ? "" : ", ") + each->method;
    if (each->method == method) route.operation = each;
  }
  if (route.operation == nullptr) return route;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::string& name = route.operation->segments[i];
    if (isParameter(name)) route.path.emplace(name.substr(1, name.size() - 2), segments[i]);
  }
  return route;
}

}  // namespace gs

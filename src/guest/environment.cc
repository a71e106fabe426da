#include "guest/environment.h"

#include <unordered_map>

#include "guest/user_lookup.h"

namespace gs::guest {
namespace {

constexpr std::size_t kMaxCandidates = 64;

}  // namespace

std::vector<std::string> mergeEnvironment(std::span<const std::string> shared, std::span<const std::string> own,
                                          const User& user) {
  std::vector<std::string> merged;
  merged.reserve(shared.size() + own.size() + 3);
  std::unordered_map<std::string_view, std::size_t> places;
  const auto put = [&](std::span<const std::string> entries) {
    for (const auto& entry : entries) {
      const auto equals = entry.find('=');
      if (equals == 0 || equals == std::string::npos) continue;
      const auto [place, isNew] = places.try_emplace(std::string_view(entry).substr(0, equals), merged.size());
      if (isNew) {
        merged.push_back(entry);
      } else {
        merged[place->second] = entry;
      }
    }
  };
  put(shared);
  put(own);
  if (!places.contains("PATH")) merged.push_back("PATH=" + std::string(kDefaultPath));
  if (!places.contains("HOME")) merged.push_back("HOME=" + user.home);
  if (!places.contains("USER") && !user.name.empty()) merged.push_back("USER=" + user.name);
  return merged;
}

std::string_view findVariable(std::span<const std::string> environment, std::string_view name) {
  for (const auto& entry : environment) {
    const std::string_view view(entry);
    if (view.size() > name.size() && view.starts_with(name) && view[name.size()] == '=') {
      return view.substr(name.size() + 1);
    }
  }
  return {};
}

std::vector<std::string> programCandidates(std::string_view program, std::string_view path) {
  if (program.find('/') != std::string_view::npos) return {std::string(program)};
  std::vector<std::string> candidates;
  while (candidates.size() < kMaxCandidates) {
    const auto colon = path.find(':');
    const auto directory = path.substr(0, colon);
    candidates.push_back(directory.empty() ? "./" + std::string(program)
                                           : std::string(directory) + "/" + std::string(program));
    if (colon == std::string_view::npos) break;
    path.remove_prefix(colon + 1);
  }
  return candidates;
}

}  // namespace gs::guest

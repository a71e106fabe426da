#include "base/json.h"

#include <nlohmann/json.hpp>

#include <set>

namespace gs {
namespace {

constexpr int kMaxDepth = 32;

// Builds the value through the library's own DOM parser, with a callback that watches depth and repeated keys.
class Watcher {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) problem_ = "is nested too deeply";
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys_.empty()) keys_.pop_back();
    if (event == Json::parse_event_t::key && !keys_.empty()) {
      if (!keys_.back().insert(parsed.get<std::string>()).second) problem_ = "repeats a key";
    }
    return true;
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

Error fieldError(std::string_view key, std::string_view what) {
  return makeError(ErrorCode::kInvalidArgument, fmt::format("field '{}' {}", key, what));
}

}  // namespace

Result<Json> parseJson(std::string_view text) {
  // The library recurses nowhere while parsing, so depth is a limit for those who walk the result.
  Watcher watcher;
  try {
    Json value = Json::parse(text.begin(), text.end(), std::ref(watcher));
    if (!watcher.problem().empty()) return fail(ErrorCode::kInvalidArgument, "JSON text " + watcher.problem());
    return value;
  } catch (const Json::parse_error& e) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("not a JSON text (at byte {})", e.byte));
  } catch (const Json::exception&) {
    return fail(ErrorCode::kInvalidArgument, "not a JSON text");
  }
}

std::string canonicalJson(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<std::optional<std::string>> findString(const Json& object, std::string_view key) {
  if (!object.is_object()) return fail(fieldError(key, "is looked for in something that is no object"));
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::optional<std::string>();
  if (!it->is_string()) return fail(fieldError(key, "must be a string"));
  return std::optional(it->get<std::string>());
}

Result<std::optional<std::int64_t>> findInteger(const Json& object, std::string_view key) {
  if (!object.is_object()) return fail(fieldError(key, "is looked for in something that is no object"));
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::optional<std::int64_t>();
  if (!it->is_number_integer()) return fail(fieldError(key, "must be an integer"));
  if (it->is_number_unsigned() && it->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    return fail(fieldError(key, "is too large"));
  }
  return std::optional(it->get<std::int64_t>());
}

Result<std::string> getString(const Json& object, std::string_view key) {
  GS_TRY(auto found, findString(object, key));
  if (!found) return fail(fieldError(key, "is missing"));
  return std::move(*found);
}

Result<std::int64_t> getInteger(const Json& object, std::string_view key) {
  GS_TRY(auto found, findInteger(object, key));
  if (!found) return fail(fieldError(key, "is missing"));
  return *found;
}

Result<std::vector<std::string>> getStrings(const Json& object, std::string_view key) {
  if (!object.is_object()) return fail(fieldError(key, "is looked for in something that is no object"));
  std::vector<std::string> out;
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return out;
  if (!it->is_array()) return fail(fieldError(key, "must be a list of strings"));
  for (const auto& item : *it) {
    if (!item.is_string()) return fail(fieldError(key, "must be a list of strings"));
    out.push_back(item.get<std::string>());
  }
  return out;
}

}  // namespace gs

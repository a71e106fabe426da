// Reading JSON from outside without exceptions: bounded parsing and typed field access.
//
// Depth is limited to 32 and duplicate keys are refused, so that two readers cannot disagree about one text. Users
// include <nlohmann/json.hpp> in their own sources; this header only forward-declares it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gs {

using Json = nlohmann::json;

// kInvalidArgument with the byte offset when it is no JSON text, is too deep, or repeats a key.
[[nodiscard]] Result<Json> parseJson(std::string_view text);

// Compact, keys sorted, UTF-8 as is (invalid UTF-8 is replaced): the canonical form that digests are taken of.
[[nodiscard]] std::string canonicalJson(const Json& value);

// Field access: `find…` gives nothing when absent; `get…` is kInvalidArgument naming the field. A field of another
// type is kInvalidArgument for both.
[[nodiscard]] Result<std::string> getString(const Json& object, std::string_view key);
[[nodiscard]] Result<std::int64_t> getInteger(const Json& object, std::string_view key);
[[nodiscard]] Result<std::optional<std::string>> findString(const Json& object, std::string_view key);
[[nodiscard]] Result<std::optional<std::int64_t>> findInteger(const Json& object, std::string_view key);
[[nodiscard]] Result<std::vector<std::string>> getStrings(const Json& object, std::string_view key);  // absent: empty

}  // namespace gs

// One line of Error::details: where something is wrong, and what.
//
// The text form "<pointer>: <sentence>" reads well in a log and on a terminal, and server/api/problem.cc takes it apart
// again for the `errors` member of a problem. Pointers are JSON Pointers (RFC 6901), see ProblemError in the contract.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gs {

struct Fault {
  std::string pointer;
  std::string detail;
  friend bool operator==(const Fault&, const Fault&) = default;
};

// At most this many are told; more would only make an answer long.
inline constexpr std::size_t kMaxFaults = 64;

[[nodiscard]] std::string faultLine(std::string_view pointer, std::string_view detail);
// A line without a pointer is a fault of the whole.
[[nodiscard]] Fault parseFaultLine(std::string_view line);
// `token` as one reference token of a pointer: "~" and "/" are escaped.
[[nodiscard]] std::string pointerToken(std::string_view token);

}  // namespace gs

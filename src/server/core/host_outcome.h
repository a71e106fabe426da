// What the creations on a host say about the host: one that keeps failing is left alone for a while, then tried again.
//
// Only the first outcome of a sandbox counts, and only a failure that is the host's (its runtime, its guest, its way to
// blueprints): a workload that ends badly says that the host works. kFailuresToRest failures in a row and the host rests;
// each further failure doubles the rest. After it one sandbox at a time is placed there, the probe: its success ends
// the matter. Pure; kept with the host's row, so a restart forgets nothing.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "wire/sandbox_types.h"

namespace gs {

inline constexpr std::int64_t kFailuresToRest = 3;
inline constexpr Millis kFirstRest = std::chrono::seconds(30);
inline constexpr Millis kLongestRest = std::chrono::minutes(32);

struct HostTrial {
  std::int64_t failures = 0;             // creations in a row
  std::optional<WallTime> restingSince;  // set from the failure on that took the host out of the rotation
  std::optional<WallTime> restsUntil;
  friend bool operator==(const HostTrial&, const HostTrial&) = default;
};

enum class CreationOutcome : std::uint8_t { kPending, kSucceeded, kHostFailed, kNoVerdict };
[[nodiscard]] CreationOutcome creationOutcome(SandboxState state, std::string_view reason);

// The trial after the outcome of a sandbox that was placed at `placedAt`. What was placed before the host began to rest
// cannot prolong the rest: a burst that fails together counts once.
[[nodiscard]] HostTrial judgeCreation(HostTrial trial, CreationOutcome outcome, WallTime placedAt, WallTime now);

}  // namespace gs

// Who or what ended a run: the cause that a host gives, or that follows from what else it said, and by whom. Pure.
//
// Agents of the first version give no cause. What they say of state, reason and exit is enough for most; where it is not,
// the cause stays unspecified rather than guessed.
#pragma once

#include <string>

#include "server/core/records.h"

namespace gs {

// `before`: the end that was known. An end that is told again, under whatever state, keeps its cause.
[[nodiscard]] ExitCause causeOf(const Observation& observation, const std::optional<ExitInfo>& before = std::nullopt);

// Who ended it. `wisher`: who made the wish that was in force, as in the audit log. Empty: nobody knows.
[[nodiscard]] std::string enderOf(ExitCause cause, const SandboxId& sandbox, const HostId& host, std::string_view wisher);

// The end of what was on a host that was removed, unless it had ended before: when exactly, and how, nobody will know.
[[nodiscard]] ExitInfo lostWithHost(WallTime at);

}  // namespace gs

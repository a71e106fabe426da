// Follows a sandbox until it is where the user wants it, and tells what happens on the way.
//
// Every change of state is one note with the time since the start; on a terminal the present state ticks. An
// observation counts only when it belongs to what was asked for last (observedGeneration), because after a start the
// record may still show how the run before it ended.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/context.h"

namespace gs::cli {

enum class WaitGoal : std::uint8_t { kRunning, kStopped, kArchived, kGone };

// The record as it is when the goal is reached; an empty object when the goal was kGone. A workload that ended with
// code 0 has reached kRunning. kFailedPrecondition with the sandbox's reason and message when it failed or was stopped
// by someone; kDeadlineExceeded with the present state when --timeout is over; kNotFound when it is gone.
[[nodiscard]] Result<Json> waitForSandbox(Context& context, ApiClient& api, Json sandbox, WaitGoal goal);

// --wait and --no-wait of the commands that use this.
void addWaitFlags(Command& command, bool& wait, std::string_view untilWhat);

}  // namespace gs::cli

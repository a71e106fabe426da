// Deletions that are held (core/deletion_fence.h), as a person on the host sees and confirms them.
//
// The second path besides the control plane: `gstacks-agent deletions` reads the journal, and confirms by a file in the
// state directory, which only root can write. The agent takes it within a few seconds, or at its next start, and removes
// it; it confirms a set by name, so one that is late or wrong does nothing. Blocking, small.
#pragma once

#include "agent/core/agent_paths.h"
#include "agent/core/deletion_fence.h"
#include "wire/host_types.h"

namespace gs {

// The condition that the host reports while deletions are held; the same text as long as the same ones are.
[[nodiscard]] HostCondition deletionsHeld(const std::vector<HeldDestruction>& held, const DeletionFenceLimits& limits);

// From the journal, beside a running agent or without one. kNotFound: there is no journal.
[[nodiscard]] Result<std::vector<HeldDestruction>> readHeldDestructions(const AgentPaths& paths);
// For people: what is held and how to confirm it.
[[nodiscard]] std::string describeHeld(const std::vector<HeldDestruction>& held);

// Puts the confirmation where the agent finds it. kFailedPrecondition: `fence` names another set. Repeat: the same.
[[nodiscard]] Status confirmOnHost(const AgentPaths& paths, const std::vector<HeldDestruction>& held, const std::string& fence);
// The agent's side: takes the confirmation and removes it. Empty: there is none. kPermissionDenied: the file is not this
// user's own, or others can write to it; it is removed all the same.
[[nodiscard]] Result<std::string> takeConfirmation(const AgentPaths& paths);

}  // namespace gs

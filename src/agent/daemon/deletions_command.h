// Deletions that are held (core/deletion_fence.h), as a person on the host sees and answers them.
//
// The second path besides the control plane: `gstacks-agent deletions` reads the journal, and confirms or rejects by a file
// in the state directory, which only root can write. The agent takes it within a few seconds, or at its next start, and removes
// it; it answers a set by name, so one that is late or wrong does nothing. Blocking, small.
#pragma once

#include "agent/core/agent_paths.h"
#include "agent/core/deletion_fence.h"
#include "wire/host_types.h"

namespace gs {

// The condition that the host reports while deletions are held; the same text as long as the same ones are.
[[nodiscard]] HostCondition deletionsHeld(const std::vector<HeldDestruction>& held, const DeletionFenceLimits& limits);

// From the journal, beside a running agent or without one: those that wait for an answer, or those that were refused.
// kNotFound: there is no journal.
[[nodiscard]] Result<std::vector<HeldDestruction>> readDestructions(const AgentPaths& paths, Destruction which);
// For people: what is held and how to answer it, and what was refused.
[[nodiscard]] std::string describeHeld(const std::vector<HeldDestruction>& held, const std::vector<HeldDestruction>& refused);

// Puts the answer (released or refused) where the agent finds it. kFailedPrecondition: `fence` names another set. Repeat:
// the same.
[[nodiscard]] Status answerOnHost(const AgentPaths& paths, Destruction answer, const std::vector<HeldDestruction>& held,
                                  const std::string& fence);
// The agent's side: takes such an answer and removes it. Empty: there is none. kPermissionDenied: the file is not this
// user's own, or others can write to it; it is removed all the same.
[[nodiscard]] Result<std::string> takeAnswer(const AgentPaths& paths, Destruction answer);

}  // namespace gs

// What a client is told about a sandbox, from what was asked for, what was last observed and whether its host can be
// heard. Pure, so that the rules can be read and tested in one place.
#pragma once

#include <string>

#include "server/core/records.h"

namespace gs {

// The host of a sandbox as far as its sandboxes care.
struct HostHearing {
  HostState state = HostState::kConnected;
  std::string name;
  std::optional<WallTime> lastSeenAt;
};

// Turns the last observation in `record` into what a client sees: deletion that is wanted shows as deleting, an unheard
// host as unknown; every state that is not the desired one gets a reason, and one that is loses its.
void showToClients(SandboxRecord& record, const HostHearing& host);

// What its host is told: the whole of what is wanted, in its present generation.
[[nodiscard]] Assignment assignmentOf(const SandboxRecord& record);
// The same for a host that may have no record of the sandbox: with what it has told of it, should it have lost its memory.
[[nodiscard]] Assignment assignmentWithMemory(const SandboxRecord& record);

// Whether starting it again is a new start: it ended by itself in its present generation.
[[nodiscard]] bool endedByItself(const SandboxRecord& observed);

// Whether its host has told that its deletion was rejected there (`rejectDeletions`).
[[nodiscard]] bool deletionWasRejected(const SandboxRecord& observed);

// Whether the observation is of what is wanted now. A state of an older generation says nothing about the present wish.
[[nodiscard]] inline bool isCurrent(const SandboxRecord& record) {
  return record.observedGeneration >= record.generation;
}

}  // namespace gs

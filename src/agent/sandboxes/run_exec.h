// An exec that knows of the run it belongs to: when this agent ends the run, the exec ends by SIGKILL.
//
// Processes of a sandbox that is stopped or deleted are gone before anybody could tell their exits; all that is left is a
// broken connection. Only whoever ended the run can say that this is no failure of the host. Loop thread only.
#pragma once

#include <memory>

#include "agent/guest_channel/guest_channel.h"

namespace gs {

// Shared by a run and its execs.
struct RunEnd {
  bool wanted = false;  // the agent has begun to end it
};

[[nodiscard]] std::unique_ptr<GuestExec> execOfRun(std::unique_ptr<GuestExec> exec, std::shared_ptr<const RunEnd> run);

}  // namespace gs

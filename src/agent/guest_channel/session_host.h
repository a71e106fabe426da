// What sessions need of the sandboxes of this host. Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/guest_channel/guest_channel.h"
#include "base/ids.h"

namespace gs {

// Every call finds the sandbox first: kNotFound when it is not here, kFailedPrecondition when it does not run; otherwise
// as the function of GuestChannel of that name.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  [[nodiscard]] virtual Task<Result<std::unique_ptr<GuestExec>>> startExec(SandboxId sandbox, ProcessSpec process,
                                                                           Deadline deadline) = 0;
  [[nodiscard]] virtual Task<Result<std::unique_ptr<GuestExec>>> attachSession(SandboxId sandbox, AttachSpec spec,
                                                                               Deadline deadline) = 0;
  [[nodiscard]] virtual Task<Result<std::vector<SessionSummary>>> listSessions(SandboxId sandbox, Deadline deadline) = 0;
  [[nodiscard]] virtual Task<Status> endSession(SandboxId sandbox, std::string session, SessionClaim claim,
                                                Deadline deadline) = 0;
};

}  // namespace gs

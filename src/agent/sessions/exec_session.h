// Carries one exec between a data channel and the guest: frames in, process I/O out.
//
// The channel speaks gstacks.session.v1 (openSession in the HTTP contract). Output is read from the guest only as fast
// as the channel takes it, so memory is one frame each way. The client going away closes the exec, which ends the
// process. Loop thread only. Nothing survives an agent restart in this version: the process ends with the channel.
#pragma once

#include <functional>
#include <memory>

#include "agent/guest_channel/guest_channel.h"
#include "base/ids.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

using ExecStarter =
    std::function<Task<Result<std::unique_ptr<GuestExec>>>(SandboxId, ProcessSpec, Deadline)>;

// Runs the session to its end and closes the channel, always. A failure to start becomes an error frame.
[[nodiscard]] Task<void> runExecSession(std::shared_ptr<WebSocket> channel, SessionOpen open, ExecStarter start);

// "TERM" or "SIGTERM" → 15; nothing for a name that is not one of the POSIX signals that can be sent.
[[nodiscard]] std::optional<int> signalNumber(std::string_view name);
[[nodiscard]] std::string signalName(int number);  // "TERM"; "64" for one without a name

}  // namespace gs

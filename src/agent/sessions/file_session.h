// Carries one file operation between a data channel and the guest: frames both ways, untouched.
//
// The frames are those of files.proto; only their size is looked at, because both ends check what is in them. One is in
// flight each way, so memory is two frames, and TCP slows whoever is too fast. The channel going away ends the operation.
// Loop thread only. Nothing survives a restart of the agent: the operation ends, and can be resumed by its client.
#pragma once

#include <functional>
#include <memory>

#include "agent/guest_channel/guest_connection.h"
#include "async/deadline.h"
#include "base/ids.h"
#include "net/web_socket.h"

namespace gs {

using FileStarter = std::function<Task<Result<std::shared_ptr<GuestConnection>>>(SandboxId, Deadline)>;

// Runs the operation to its end and closes the channel, always. One that cannot begin becomes an error frame.
[[nodiscard]] Task<void> runFileSession(std::shared_ptr<WebSocket> channel, SandboxId sandbox, FileStarter start);

}  // namespace gs

// One reader of a sandbox's log, over a data channel (LogsSession in session.proto).
//
// Loop thread only. Sends as fast as the channel takes it, a batch at a time; a reader that stops delays nobody. Ends with
// the log (LogsEnd), or when the reader or the sandbox's log goes.
#pragma once

#include "agent/logs/workload_logs.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

// Runs it to its end and closes the channel, always. `known`: whether the host has the sandbox.
[[nodiscard]] Task<void> runLogSession(std::shared_ptr<WebSocket> channel, SessionOpen open, WorkloadLogs& logs,
                                       std::function<bool(const SandboxId&)> known);

}  // namespace gs

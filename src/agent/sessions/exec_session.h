// Carries one exec between a data channel and the guest: frames in, process I/O out.
//
// The channel speaks gstacks.session.v1 (openSession in the HTTP contract). Output is read from the guest only as fast
// as the channel takes it, so memory is one frame each way. The client going away closes the exec: the process ends, or
// goes on without a client as its policy says. Loop thread only. Restart: nothing is kept here; the guest keeps sessions.
#pragma once

#include <memory>
#include <optional>

#include "agent/guest_channel/session_host.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

// Starts a program, or joins a session that is there; runs to its end and closes the channel, always. What fails before
// becomes an error frame.
[[nodiscard]] Task<void> runExecSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host);
[[nodiscard]] Task<void> runAttachedSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host);

// "TERM" or "SIGTERM" → 15; nothing for a name that is not one of the POSIX signals that can be sent.
[[nodiscard]] std::optional<int> signalNumber(std::string_view name);
[[nodiscard]] std::string signalName(int number);  // "TERM"; "64" for one without a name

}  // namespace gs

// A data channel that the server has opened: what it asks for, and who answers that.
#pragma once

#include <memory>

#include "agent/guest_channel/session_host.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

// To its end; closes the channel, always.
[[nodiscard]] Task<void> runSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host);

}  // namespace gs

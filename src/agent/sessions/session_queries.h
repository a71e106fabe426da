// What is asked about the sessions of a sandbox, and answered at once: which there are, and to end one.
#pragma once

#include <memory>

#include "agent/guest_channel/session_host.h"
#include "net/web_socket.h"
#include "wire/messages.h"

namespace gs {

// Answers with SessionsReply frames and closes the channel, always. Texts of the guest that are no ids are left out.
[[nodiscard]] Task<void> answerListSessions(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host);
[[nodiscard]] Task<void> answerEndSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host);

}  // namespace gs

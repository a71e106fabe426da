#include "agent/sessions/run_session.h"

#include "agent/sessions/exec_session.h"
#include "agent/sessions/session_queries.h"

namespace gs {

Task<void> runSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host) {
  if (std::holds_alternative<AttachSession>(open.kind)) return runAttachedSession(std::move(channel), std::move(open), host);
  if (std::holds_alternative<ListSessions>(open.kind)) return answerListSessions(std::move(channel), std::move(open), host);
  if (std::holds_alternative<EndSession>(open.kind)) return answerEndSession(std::move(channel), std::move(open), host);
  return runExecSession(std::move(channel), std::move(open), host);
}

}  // namespace gs

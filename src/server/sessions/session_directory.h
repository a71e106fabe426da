// The sessions of a sandbox, as its guest tells of them: which there are, and to end one.
//
// Nothing is kept here. Each question takes a data channel of the host; the answers are claims of the sandbox, bounded by
// the agent. Loop thread only; store and hub must outlive it.
#pragma once

#include "server/gateway/link_hub.h"
#include "server/store/store.h"

namespace gs {

// Whose sessions an actor may write to, watch and end: its own; an administrator's are all of the tenant.
[[nodiscard]] AttachSession::Reach reachOf(const Actor& actor);
// 409 reattach_unsupported.
[[nodiscard]] Error reattachUnsupported(std::string_view hostName);

class SessionDirectory {
 public:
  SessionDirectory(Store& store, LinkHub& hub, const Clock& clock) : store_(store), hub_(hub), clock_(clock) {}

  // By id, everybody's. kNotFound: no such sandbox in the tenant; kFailedPrecondition: it does not run
  // (sandbox_not_running), or its agent or guest is too old (reattach_unsupported); kUnavailable, kDeadlineExceeded.
  [[nodiscard]] Task<Result<std::vector<SessionInfo>>> list(Actor actor, SandboxId sandbox);
  // Hangs it up; one that has ended is forgotten. Noted in the audit log. kNotFound also: no such session, another user's,
  // or forgotten already (a repeat).
  [[nodiscard]] Task<Status> end(Actor actor, SandboxId sandbox, SessionId session);
  // Whether the actor may attach to it now. Errors as end().
  [[nodiscard]] Task<Status> checkAttachable(Actor actor, SandboxId sandbox, SessionId session);
  // Against which the ages of sessions count.
  [[nodiscard]] WallTime now() const { return clock_.wallNow(); }

 private:
  // All the replies of the guest, as one.
  [[nodiscard]] Task<Result<std::vector<SessionInfo>>> ask(Actor actor, SessionOpen question);
  [[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> takeAndAsk(HostId host, SessionOpen question, Deadline deadline);

  Store& store_;
  LinkHub& hub_;
  const Clock& clock_;
};

}  // namespace gs

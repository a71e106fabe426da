// What every session of a sandbox needs, whatever goes over it: a data channel of its host, lines in the audit log, and
// the count of what is in use.
//
// Loop thread only; store and hub must outlive it, and it every use().
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/core/records.h"
#include "server/gateway/link_hub.h"
#include "server/store/store.h"

namespace gs {

class SessionAccount {
 public:
  SessionAccount(Store& store, LinkHub& hub, const Clock& clock, Millis channelTimeout)
      : store_(store), hub_(hub), clock_(clock), channelTimeout_(channelTimeout) {}

  // A data channel of the host on which the messages are written: what they ask for may have begun. Errors as
  // LinkHub::takeChannel; kDeadlineExceeded: no channel was good in time.
  [[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> beginOnChannel(HostId host, std::vector<std::string> messages);
  // The sandbox is in use until the last of these goes.
  [[nodiscard]] std::shared_ptr<void> use(const SandboxId& sandbox);
  [[nodiscard]] std::vector<SandboxId> sandboxesInUse() const;
  // At the begin and at the end, for a sandbox that is stopped when it is idle. A failure is logged.
  [[nodiscard]] Task<void> noteActivity(SandboxRecord sandbox);
  // Errors as Store::appendAudit.
  [[nodiscard]] Task<Status> audit(Actor actor, std::string action, SandboxId sandbox, std::string detail);

 private:
  Store& store_;
  LinkHub& hub_;
  const Clock& clock_;
  Millis channelTimeout_;
  std::map<SandboxId, std::size_t> inUse_;
};

}  // namespace gs

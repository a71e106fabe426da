// SessionBroker: checks the open frame, finds a channel, then carries frames between the two sockets.
//
// It reads frame types, never payloads, except to see that a signal is JSON. Loop thread only; store, hub and events
// must outlive it. Limits: `maxPerTenant` sessions of a tenant at once (see openSessions()).
#pragma once

#include <unordered_map>

#include "server/gateway/link_hub.h"
#include "server/sandboxes/sandbox_events.h"
#include "server/sessions/session_broker.h"

namespace gs {

struct SessionBrokerSettings {
  Millis openTimeout{10'000};
  Millis channelTimeout{10'000};
  std::size_t maxPerTenant = 1'024;
};

class SplicingBroker final : public SessionBroker {
 public:
  SplicingBroker(Store& store, LinkHub& hub, SandboxEvents& events, const Clock& clock,
                 SessionBrokerSettings settings = {});

  [[nodiscard]] Task<void> run(Actor actor, std::shared_ptr<WebSocket> client) override;
  // Whether the tenant may open one more: kResourceExhausted (reason too_many). For the answer before the upgrade; run()
  // checks again.
  [[nodiscard]] Status checkQuota(const TenantId& tenant) const;

 private:
  struct Opening;
  [[nodiscard]] Task<Result<Opening>> open(Actor actor, std::shared_ptr<WebSocket> client, SessionId session);
  [[nodiscard]] Task<Result<SandboxRecord>> waitUntilRunning(Actor actor, std::string sandbox, Deadline deadline,
                                                             std::shared_ptr<WebSocket> client);
  [[nodiscard]] Task<void> audit(Actor actor, std::string action, SandboxId sandbox, std::string detail);

  Store& store_;
  LinkHub& hub_;
  SandboxEvents& events_;
  const Clock& clock_;
  SessionBrokerSettings settings_;
  std::unordered_map<TenantId, std::size_t> open_;
};

}  // namespace gs

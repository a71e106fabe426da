// SessionBroker: checks the open frame, finds a channel, then carries frames between the two sockets.
//
// It reads frame types, never payloads, except to see that a signal is JSON. Loop thread only; store, hub and events
// must outlive it. Limits: `maxPerTenant` sessions of a tenant at once. Restart: nothing is kept, and nothing need be: a
// session that can be attached to is named by its sandbox and its id, and its guest knows whose it is. The others get HUP
// from their agent when the channel goes.
#pragma once

#include <expected>
#include <unordered_map>

#include "server/gateway/link_hub.h"
#include "server/sandboxes/sandbox_events.h"
#include "server/sessions/session_account.h"
#include "server/sessions/session_broker.h"
#include "server/sessions/splice.h"

namespace gs {

struct OpenRequest;

struct SessionBrokerSettings {
  Millis openTimeout{10'000};
  Millis channelTimeout{10'000};
  std::size_t maxPerTenant = 1'024;
};

class SplicingBroker final : public SessionBroker {
 public:
  SplicingBroker(Store& store, LinkHub& hub, SandboxEvents& events, const Clock& clock,
                 SessionBrokerSettings settings = {});

  [[nodiscard]] Task<void> run(Actor actor, std::shared_ptr<WebSocket> client, std::optional<TicketGrant> grant) override;
  // Whether the tenant may open one more: kResourceExhausted (reason too_many). For the answer before the upgrade; run()
  // checks again.
  [[nodiscard]] Status checkQuota(const TenantId& tenant) const;
  // The sandboxes that have a session now.
  [[nodiscard]] std::vector<SandboxId> sandboxesInUse() const { return account_.sandboxesInUse(); }
  // Closes every session with 1001, and from now on every new one at once. Returns when the sockets are closed. Call it
  // before the HTTP server stops, or clients see a broken connection.
  [[nodiscard]] Task<void> stop();

 private:
  // Why a session did not come about: a problem to tell, or only a close code.
  struct Refusal {
    std::uint16_t closeCode = 0;
    Error error;
    enum class Tell : std::uint8_t { kProblem, kCloseOnly } tell = Tell::kProblem;
  };
  struct Opening {
    SandboxRecord sandbox;
    std::shared_ptr<WebSocket> channel;
    std::string program;
    SpliceRules rules;
    std::shared_ptr<void> use;  // the sandbox is in use until it goes
  };
  class Registration;

  [[nodiscard]] Task<std::expected<Opening, Refusal>> open(Actor actor, std::shared_ptr<WebSocket> client,
                                                           std::optional<TicketGrant> grant, SessionId& session);
  // What the session may ask of that host's agent. An offer that it does not know of is dropped from the request.
  [[nodiscard]] Task<Status> fitToHost(TenantId tenant, HostId host, std::shared_ptr<OpenRequest> request);
  [[nodiscard]] Task<std::expected<OpenRequest, Refusal>> readOpen(std::shared_ptr<WebSocket> client);
  [[nodiscard]] Task<Result<SandboxRecord>> waitUntilRunning(TenantId tenant, std::string sandbox, Deadline deadline,
                                                             std::shared_ptr<WebSocket> client);
  [[nodiscard]] static Refusal refusalOf(Error error);

  Store& store_;
  SandboxEvents& events_;
  SessionBrokerSettings settings_;
  SessionAccount account_;
  std::unordered_map<TenantId, std::size_t> open_;
  std::unordered_map<WebSocket*, std::weak_ptr<WebSocket>> clients_;
  bool stopping_ = false;
};

}  // namespace gs

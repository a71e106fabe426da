// LinkHub over real links: one AgentLink per connected host, and the data channels that its agent parks here.
//
// One watch task looks at all links twice a second (silence, Hello deadline, old tickets), so an idle link costs no timer
// and no coroutine but its reader. Loop thread only. Store, events, credentials and clock must outlive it; stop() before
// destruction. Restart: nothing is kept, see LinkHub.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "async/task_group.h"
#include "server/core/identity_watch.h"
#include "server/gateway/blob_credentials.h"
#include "server/gateway/host_reports.h"
#include "server/gateway/link_hub.h"
#include "server/sandboxes/sandbox_events.h"
#include "server/store/store.h"

namespace gs {

struct GatewaySettings {
  Millis heartbeat{3'000};
  Millis helloTimeout{10'000};
  Millis ticketLifetime{60'000};
  std::size_t spareChannels = 2;    // parked per host that has sandboxes and the feature "exec"
  std::size_t maxOutbound = 1'000;  // messages; more cuts the link, since a reconnect brings all that matters
  // Telemetry goes to the database at most this often a second, over all hosts.
  std::size_t telemetryWritesPerSecond = 100;
};

class AgentLink;

class GatewayHub final : public LinkHub, public HostReports {
 public:
  GatewayHub(Executor executor, Store& store, SandboxEvents& events, BlobCredentials& credentials, const Clock& clock,
             GatewaySettings settings = {});
  ~GatewayHub() override;

  [[nodiscard]] bool isConnected(const HostId& host) const override;
  void sendAssignment(const HostId& host, const Assignment& assignment) override;
  void cut(const HostId& host, std::uint16_t code, std::string reason) override;
  [[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> takeChannel(HostId host, Deadline deadline) override;

  [[nodiscard]] std::vector<HeldSandbox> unknownSandboxes(const HostId& host) const override;
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDeletions(HostId host, std::string fence, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::uint32_t>> rejectDeletions(HostId host, std::string fence, Deadline deadline) override;

  [[nodiscard]] bool hasReported(const HostId& host) const override { return reported_.contains(host); }

  // Runs a link from its Hello to its end. The host was authenticated by the caller; `serialHex` is asked about again
  // when the Hello came, so that a revocation in between counts.
  [[nodiscard]] Task<void> serveLink(HostId host, std::string serialHex, std::shared_ptr<WebSocket> socket);
  // Uses up a ticket. kUnauthenticated: unknown, used, too old, or of another host or link.
  [[nodiscard]] Status takeTicket(const HostId& host, std::string_view ticket);
  // Parks a channel until somebody takes it, then until it is done with. For a ticket that takeTicket() took.
  [[nodiscard]] Task<void> serveChannel(HostId host, std::shared_ptr<WebSocket> socket);

  [[nodiscard]] std::size_t connectedHosts() const { return links_.size(); }
  // Closes every link with 1001 and joins. Hosts stay "connected" in the store; the next start corrects that.
  [[nodiscard]] Task<void> stop();

 private:
  friend class AgentLink;
  enum class Ending : std::uint8_t { kRecorded, kSuperseded };

  [[nodiscard]] Task<void> watch();
  // The link is the host's present one from now on; the one before is ended. False: a newer epoch is there already.
  [[nodiscard]] bool adopt(const std::shared_ptr<AgentLink>& link);
  // Looks at a link that took over from one that was up, and flags the host when two agents take turns.
  void watchIdentity(const HostId& host, const Takeover& takeover);
  [[nodiscard]] Task<void> flagDuplicate(HostId host);
  [[nodiscard]] Task<void> clearDuplicates();
  // Takes the link out, drops its channels, records the end and closes the socket. Repeat: nothing.
  void end(const std::shared_ptr<AgentLink>& link, std::uint16_t code, std::string closeReason,
           std::string disconnectReason, Ending ending);
  [[nodiscard]] Task<void> finish(std::shared_ptr<AgentLink> link, std::uint16_t code, std::string closeReason,
                                  std::string disconnectReason, Ending ending);
  void noteReport(const HostId& host);
  // When it is connected.
  void askInventory(const HostId& host);
  [[nodiscard]] std::shared_ptr<AgentLink> findLink(const HostId& host) const;
  [[nodiscard]] Millis telemetryInterval() const;

  Executor executor_;
  Store& store_;
  SandboxEvents& events_;
  BlobCredentials& credentials_;
  const Clock& clock_;
  GatewaySettings settings_;
  TaskGroup tasks_;
  std::unordered_map<HostId, std::shared_ptr<AgentLink>> links_;
  std::vector<std::weak_ptr<AgentLink>> greeting_;  // before their Hello
  std::unordered_map<HostId, Contradiction> contradictions_;  // not older than kIdentityWindow, by a minute or so
  std::unordered_set<HostId> reported_;  // HostReports
  bool stopping_ = false;
};

}  // namespace gs

// One agent's control link, from its Hello to its end: the protocol of control_plane.proto on the server's side.
//
// Levels, not edges: what differs is found by comparing digests after the Hello; afterwards the hub passes changes on.
// Owned by the coroutine that serves the socket and by the hub's table. Loop thread only. Nothing here survives it.
// Memory: small on purpose, there may be ten thousand of these.
#pragma once

#include <list>
#include <map>
#include <set>

#include "server/gateway/channel_pool.h"
#include "server/gateway/gateway_hub.h"

namespace gs {

class AgentLink : public std::enable_shared_from_this<AgentLink> {
 public:
  AgentLink(GatewayHub& hub, HostId host, std::shared_ptr<WebSocket> socket);

  [[nodiscard]] Task<void> run(std::string serialHex);
  // Queued; a queue that is full ends the link.
  void send(decltype(ServerMessage::body) body);
  // The same, for what is wanted of a sandbox that is this host's by the record.
  void assign(const Assignment& assignment);

  [[nodiscard]] const HostId& host() const { return host_; }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  // Whether the agent has shown to have this link's epoch.
  [[nodiscard]] bool spokenOn() const { return spokenOn_; }
  // The link was up when this one came.
  void takeOverFrom(const AgentLink& before) { takeover_ = Takeover{namedEpoch_, before.epoch(), before.spokenOn()}; }
  [[nodiscard]] ChannelPool& channels() { return channels_; }
  [[nodiscard]] bool canExec() const { return canExec_; }
  [[nodiscard]] std::vector<HeldSandbox> unknownSandboxes() const;
  // As LinkHub::confirmDeletions.
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDeletions(std::string fence, Deadline deadline);
  [[nodiscard]] Task<Result<std::uint32_t>> rejectDeletions(std::string fence, Deadline deadline);
  // The host has or gets sandboxes: worth keeping spare channels for.
  void expectSessions();
  // Nothing was heard since then; now, while a message is being worked on here.
  [[nodiscard]] SteadyTime heardAt() const;
  [[nodiscard]] bool greeted() const { return greeted_; }
  [[nodiscard]] bool ended() const { return ended_; }
  void markEnded();
  // Closes the socket and drops it; run() returns no sooner than that.
  [[nodiscard]] Task<void> close(std::uint16_t code, std::string reason);

 private:
  class Working;
  struct Refusal {
    std::uint16_t code;
    std::string reason;
  };

  // Nothing: the link is up.
  [[nodiscard]] Task<std::optional<Refusal>> greet(std::string serialHex);
  [[nodiscard]] Task<void> reconcile(std::string agentDigest);
  [[nodiscard]] Task<void> receive(AgentMessage message);
  [[nodiscard]] Task<void> onHeartbeat(Heartbeat heartbeat);
  [[nodiscard]] Task<void> onInventory(Inventory inventory);
  [[nodiscard]] Task<void> onAssignmentAck(AssignmentAck ack);
  void askAgainLater();
  [[nodiscard]] Task<void> askAgain();
  [[nodiscard]] Task<void> onObservation(Observation observation);
  [[nodiscard]] Task<void> onHeldSandbox(HeldSandbox held);
  void withdraw(const Assignment& held);
  void told(const SandboxId& id);
  [[nodiscard]] Task<void> onCredentialRequest(BlobCredentialRequest request);
  [[nodiscard]] Task<Result<BlobCredentialReply>> credentialFor(Digest manifest);
  [[nodiscard]] Task<Result<std::vector<SandboxRecord>>> sandboxes();
  [[nodiscard]] Task<void> drain();

  GatewayHub& hub_;
  HostId host_;
  std::shared_ptr<WebSocket> socket_;
  std::uint64_t epoch_ = 0;
  std::uint64_t namedEpoch_ = 0;
  SteadyTime heardAt_;
  SteadyTime telemetryAt_{};
  int working_ = 0;
  bool greeted_ = false;
  bool ended_ = false;
  bool spokenOn_ = false;
  std::optional<Takeover> takeover_;  // to be judged when this link is spoken on
  bool canExec_ = false;
  bool canTellHeld_ = false;
  bool canConfirm_ = false;
  bool canReject_ = false;
  bool draining_ = false;
  bool askingAgain_ = false;
  bool closed_ = false;
  Event closing_;
  struct Confirmation {
    Event done;
    std::optional<ConfirmDeletionsReply> reply;
  };
  std::unique_ptr<std::map<std::uint64_t, std::shared_ptr<Confirmation>>> confirmations_;  // asked for and not answered
  [[nodiscard]] std::pair<std::uint64_t, std::shared_ptr<Confirmation>> awaitAnswer();
  [[nodiscard]] Task<Result<std::uint32_t>> answerTo(std::uint64_t request, std::shared_ptr<Confirmation> pending, Deadline deadline);
  std::uint64_t nextRequest_ = 1;
  std::unique_ptr<std::map<SandboxId, HeldSandbox>> unknown_;  // told of, and no record here; rare, hence a pointer
  std::set<SandboxId> untold_;  // asked for since the last inventory, and not told yet
  std::list<std::string> outbound_;  // an empty deque would cost half a kilobyte
  ChannelPool channels_;
};

}  // namespace gs

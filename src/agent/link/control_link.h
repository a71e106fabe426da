// The agent's one long-lived connection to its control plane: dials, says hello, carries messages, dials again.
//
// It knows nothing of sandboxes: what arrives goes to a LinkDelegate, what must be told is asked of it after each hello,
// so that nothing depends on a message that got lost with an earlier link. Backoff has full jitter (0.5 s .. 30 s) and is
// reset only after a link that lasted 30 s; a server that sheds load or revoked the host is left alone for longer.
// Loop thread only. Restart: the last epoch is journalled by the delegate; everything else is rebuilt.
#pragma once

#include <functional>
#include <map>

#include "agent/blueprints/blob_source.h"
#include "agent/link/identity.h"
#include "async/channel.h"
#include "async/task_group.h"
#include "wire/messages.h"

namespace gs {

class LinkDelegate {
 public:
  virtual ~LinkDelegate() = default;
  [[nodiscard]] virtual HostFacts facts() = 0;
  [[nodiscard]] virtual HostTelemetry telemetry() = 0;
  [[nodiscard]] virtual std::vector<AssignmentVersion> versions() = 0;
  [[nodiscard]] virtual std::vector<Observation> unacknowledged() = 0;
  [[nodiscard]] virtual Task<AssignmentAck> assign(Assignment assignment) = 0;
  virtual void acknowledge(const SandboxId& id, std::uint64_t sequence) = 0;
  // Each ticket is good for one data channel; see session.proto.
  virtual void openChannels(std::vector<SecretString> tickets) = 0;
  // What it holds of the sandbox; nothing: it does not.
  [[nodiscard]] virtual std::optional<HeldSandbox> findHeld(const SandboxId& /*id*/) { return std::nullopt; }
  // Errors and repeats as ConfirmDeletions says; returns how many were released.
  [[nodiscard]] virtual Task<Result<std::uint32_t>> confirmDeletions(std::string /*fence*/) {
    co_return fail(ErrorCode::kUnimplemented, "this agent holds no deletions");
  }
  // Likewise for RejectDeletions.
  [[nodiscard]] virtual Task<Result<std::uint32_t>> rejectDeletions(std::string /*fence*/) {
    co_return fail(ErrorCode::kUnimplemented, "this agent holds no deletions");
  }
  virtual void linkUp(std::uint64_t epoch) = 0;
  virtual void linkDown() {}  // after each linkUp once
  virtual void identityRenewed(const HostIdentity& identity) = 0;
};

// Makes the link's connection; errors as HttpClient::connectWebSocket.
using LinkDialer = std::function<Task<Result<std::shared_ptr<WebSocket>>>(Executor, HostIdentity, Deadline)>;
// Over TLS to the identity's server.
[[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> dialControlLink(Executor executor, HostIdentity identity,
                                                                       Deadline deadline);

class ControlLink {
 public:
  ControlLink(Executor executor, HostIdentity identity, std::uint64_t lastEpoch, LinkDelegate& delegate,
              LinkDialer dial = dialControlLink);
  ~ControlLink();  // stop() must have been awaited

  void start();
  [[nodiscard]] Task<void> stop();
  [[nodiscard]] bool connected() const { return epoch_ != 0; }
  [[nodiscard]] const HostIdentity& identity() const { return identity_; }
  // The server's clock minus ours when the last link was made; 0 before the first.
  [[nodiscard]] Millis clockOffset() const { return clockOffset_; }

  // Dropped silently when there is no link: the next hello brings it up to date.
  void sendObservation(const Observation& observation);
  void sendFacts(const HostFacts& facts);
  // kUnavailable: no link, or it went away before the answer.
  [[nodiscard]] Task<Result<BlobCredentialReply>> requestCredential(Digest manifest, Deadline deadline);

 private:
  struct PendingCredential;
  [[nodiscard]] Task<void> run();
  [[nodiscard]] Task<void> renewLoop();
  [[nodiscard]] Task<Status> runLink();
  [[nodiscard]] Task<Error> readLoop(WebSocket& socket);
  [[nodiscard]] Task<Error> writeLoop(WebSocket& socket);
  [[nodiscard]] Task<Error> heartbeatLoop();
  [[nodiscard]] Task<Status> receive(ServerMessage message);
  [[nodiscard]] Task<Status> renewNow();
  void send(decltype(AgentMessage::body) body);
  void failPending();
  void tellAgain();

  Executor executor_;
  HostIdentity identity_;
  LinkDelegate& delegate_;
  LinkDialer dial_;
  std::uint64_t lastEpoch_;
  std::uint64_t epoch_ = 0;  // 0: no link
  Millis heartbeat_{3000};
  Millis clockOffset_{0};  // server's clock minus ours
  SteadyTime lastHeard_{};
  std::unique_ptr<Channel<std::string>> outgoing_;
  std::map<SandboxId, std::uint64_t> unheard_;  // sequences that were unacknowledged at the last look
  std::map<std::uint64_t, std::shared_ptr<PendingCredential>> pending_;
  std::uint64_t nextRequest_ = 1;
  Millis holdOff_{0};  // asked for by the server, or after a refusal
  TaskGroup tasks_;
};

}  // namespace gs

#include "server/gateway/agent_link.h"

#include "base/encoding.h"
#include "base/log.h"
#include "server/core/sandbox_view.h"

namespace gs {
namespace {

constexpr std::uint16_t kProtocolError = 4400;
constexpr std::uint16_t kUnknownHost = 4401;
constexpr std::uint16_t kRevoked = 4403;
constexpr std::uint16_t kSuperseded = 4409;
constexpr std::uint16_t kProtocolNumber = 4426;
constexpr std::uint16_t kShedLoad = 4429;
constexpr std::uint16_t kUnreadable = 1007;
constexpr std::uint16_t kServerFault = 1011;
constexpr Millis kAskAgain{5'000};
constexpr std::size_t kMostUnknown = 5'000;

// Refused by the host in this generation: sending it again would only be refused again.
bool isParked(const SandboxRecord& record) {
  return record.state == SandboxState::kFailed && record.reason == "spec_rejected" &&
         record.observedGeneration >= record.generation && record.desired != DesiredState::kDeleted;
}

// Whether the host has judged the assignment. Anything else, as a full disk, passes.
bool isJudgement(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kUnimplemented || code == ErrorCode::kFailedPrecondition;
}

// Whether the store has judged the message, as opposed to having had no chance to.
bool isPoison(ErrorCode code) {
  return code == ErrorCode::kNotFound || code == ErrorCode::kInvalidArgument || code == ErrorCode::kFailedPrecondition;
}

}  // namespace

// While the server works on a message, silence is not the agent's fault.
class AgentLink::Working {
 public:
  explicit Working(AgentLink& link) : link_(link) { ++link_.working_; }
  ~Working() {
    --link_.working_;
    link_.heardAt_ = link_.hub_.clock_.steadyNow();
  }
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  AgentLink& link_;
};

AgentLink::AgentLink(GatewayHub& hub, HostId host, std::shared_ptr<WebSocket> socket)
    : hub_(hub),
      host_(std::move(host)),
      socket_(std::move(socket)),
      heardAt_(hub.clock_.steadyNow()),
      closing_(hub.executor_),
      channels_(hub.executor_, hub.clock_, hub.settings_.ticketLifetime,
                [this](std::vector<SecretString> tickets) { send(OpenChannels{std::move(tickets)}); }) {}

SteadyTime AgentLink::heardAt() const { return working_ > 0 ? hub_.clock_.steadyNow() : heardAt_; }

Task<void> AgentLink::run(std::string serialHex) {
  const auto self = shared_from_this();
  if (auto refusal = co_await greet(std::move(serialHex))) {
    logWarn("link_refused", {{"host", host_.text()}, {"code", refusal->code}, {"reason", refusal->reason}});
    hub_.end(self, refusal->code, std::move(refusal->reason), "link_closed", GatewayHub::Ending::kRecorded);
  }
  while (!ended_) {
    const auto bytes = co_await socket_->read();
    if (!bytes) break;
    heardAt_ = hub_.clock_.steadyNow();
    auto message = decodeAgentMessage(*bytes);
    if (!message) {
      logWarn("link_message_unreadable", {{"host", host_.text()}, {"error", message.error().message}});
      hub_.end(self, kUnreadable, message.error().message, "link_closed", GatewayHub::Ending::kRecorded);
      break;
    }
    if (std::holds_alternative<Hello>(message->body)) {
      hub_.end(self, kProtocolError, "a second hello", "link_closed", GatewayHub::Ending::kRecorded);
      break;
    }
    // Left over from a link before, by an agent that mixes them up; it says nothing about now.
    if (message->epoch != epoch_) continue;
    if (!std::exchange(spokenOn_, true) && takeover_) hub_.watchIdentity(host_, *takeover_);
    co_await receive(std::move(*message));
  }
  hub_.end(self, 1000, "", "link_closed", GatewayHub::Ending::kRecorded);
  // The connection lives no longer than this call, and the peer is to hear why.
  while (!closed_) co_await closing_.waitUntil(Deadline::never());
}

Task<void> AgentLink::close(std::uint16_t code, std::string reason) {
  const auto self = shared_from_this();
  co_await socket_->close(code, std::move(reason));
  socket_->abort();
  closed_ = true;
  closing_.notifyAll();
}

Task<std::optional<AgentLink::Refusal>> AgentLink::greet(std::string serialHex) {
  const auto bytes = co_await socket_->read();
  greeted_ = true;
  if (!bytes) co_return Refusal{kProtocolError, "no hello"};
  const Working working(*this);
  auto message = decodeAgentMessage(*bytes);
  if (!message) co_return Refusal{kUnreadable, message.error().message};
  auto* hello = std::get_if<Hello>(&message->body);
  if (hello == nullptr) co_return Refusal{kProtocolError, "the first message must be a hello"};
  if (hello->protocol != kAgentProtocol) {
    co_return Refusal{kProtocolNumber, fmt::format("protocol {} is not spoken here, {} is", hello->protocol, kAgentProtocol)};
  }
  const auto refusalFor = [](const Error& error) {
    if (error.code == ErrorCode::kPermissionDenied) return Refusal{kRevoked, error.message};
    if (error.code == ErrorCode::kUnauthenticated) return Refusal{kUnknownHost, error.message};
    return Refusal{kServerFault, "the server cannot take the link now"};
  };
  const auto host = co_await hub_.store_.authenticateHost(host_, std::move(serialHex));
  if (!host) co_return refusalFor(host.error());
  if (hello->lastEpoch != 0 && hello->lastEpoch < static_cast<std::uint64_t>(host->epoch)) {
    // The agent missed a link that this host had: a lost acknowledgement, or two agents with one identity.
    logWarn("link_epoch_skipped", {{"host", host_.text()}, {"agent_epoch", hello->lastEpoch}, {"epoch", host->epoch}});
  }
  namedEpoch_ = hello->lastEpoch;
  canExec_ = std::find(hello->features.begin(), hello->features.end(), "exec") != hello->features.end();
  const auto has = [hello](std::string_view feature) { return std::ranges::find(hello->features, feature) != hello->features.end(); };
  canTellHeld_ = has("adoption");
  canConfirm_ = has("deletion_fence");
  canReject_ = has(kFeatureDeletionRejection);
  Store::LinkUp up{host_, hello->protocol, hello->features, std::move(hello->facts), hello->telemetry, hub_.clock_.wallNow()};
  const auto epoch = co_await hub_.store_.linkUp(std::move(up));
  if (!epoch) co_return refusalFor(epoch.error());
  epoch_ = static_cast<std::uint64_t>(*epoch);
  if (ended_ || !hub_.adopt(shared_from_this())) co_return Refusal{kSuperseded, "a newer link of this host exists"};
  telemetryAt_ = hub_.clock_.steadyNow();
  logInfo("link_up", {{"host", host_.text()}, {"epoch", epoch_}});
  send(HelloAck{epoch_, hub_.settings_.heartbeat, {"exec"}, hub_.clock_.wallNow()});
  hub_.events_.notify(SandboxId());
  co_await reconcile(hello->assignmentsDigest);
  co_return std::nullopt;
}

Task<Result<std::vector<SandboxRecord>>> AgentLink::sandboxes() {
  const Working working(*this);
  co_return co_await hub_.store_.sandboxesOnHost(host_);
}

Task<void> AgentLink::reconcile(std::string agentDigest) {
  const auto records = co_await sandboxes();
  if (!records) {
    // Without knowing what should be there, asking is the safe side: the answer is compared anew.
    logError("assignments_unread", {{"host", host_.text()}, {"error", records.error().describe()}});
    co_return send(InventoryRequest{});
  }
  if (!records->empty()) expectSessions();
  std::vector<AssignmentVersion> versions;
  for (const auto& record : *records) versions.push_back({record.id, static_cast<std::uint64_t>(record.generation)});
  // Once after a start the digest does not suffice: a database from a backup may have lost what was said in a generation.
  const bool fully = canTellHeld_ && !hub_.hasReported(host_);
  // One that cannot tell has told all that it can.
  if (!canTellHeld_) hub_.noteReport(host_);
  if (fully || assignmentsDigest(std::move(versions)) != agentDigest) send(InventoryRequest{});
}

Task<void> AgentLink::receive(AgentMessage message) {
  if (const auto* heartbeat = std::get_if<Heartbeat>(&message.body)) {
    co_await onHeartbeat(*heartbeat);
  } else if (auto* observation = std::get_if<Observation>(&message.body)) {
    co_await onObservation(std::move(*observation));
  } else if (auto* ack = std::get_if<AssignmentAck>(&message.body)) {
    co_await onAssignmentAck(std::move(*ack));
  } else if (auto* inventory = std::get_if<Inventory>(&message.body)) {
    co_await onInventory(std::move(*inventory));
  } else if (auto* told = std::get_if<HeldSandbox>(&message.body)) {
    co_await onHeldSandbox(std::move(*told));
  } else if (auto* reply = std::get_if<ConfirmDeletionsReply>(&message.body)) {
    const auto found = confirmations_ ? confirmations_->find(reply->requestId) : decltype(confirmations_->begin())();
    if (confirmations_ && found != confirmations_->end()) {
      found->second->reply = std::move(*reply);
      found->second->done.notifyAll();
    }
  } else if (auto* request = std::get_if<BlobCredentialRequest>(&message.body)) {
    co_await onCredentialRequest(std::move(*request));
  } else if (auto* facts = std::get_if<FactsChanged>(&message.body)) {
    const Working working(*this);
    const auto done = co_await hub_.store_.recordFacts(host_, std::move(facts->facts), hub_.clock_.wallNow());
    hub_.events_.notify(SandboxId());  // one that waits for a host may fit now
    if (!done) logWarn("facts_not_recorded", {{"host", host_.text()}, {"error", done.error().describe()}});
  }
}

Task<void> AgentLink::onHeartbeat(Heartbeat heartbeat) {
  send(HeartbeatAck{heartbeat.sequence});
  const auto now = hub_.clock_.steadyNow();
  if (now - telemetryAt_ < hub_.telemetryInterval()) co_return;
  telemetryAt_ = now;
  const Working working(*this);
  const auto done = co_await hub_.store_.recordTelemetry(host_, heartbeat.telemetry, hub_.clock_.wallNow());
  if (!done) logWarn("telemetry_not_recorded", {{"host", host_.text()}, {"error", done.error().describe()}});
}

Task<void> AgentLink::onInventory(Inventory inventory) {
  const auto records = co_await sandboxes();
  if (!records) {
    logError("assignments_unread", {{"host", host_.text()}, {"error", records.error().describe()}});
    co_return askAgainLater();
  }
  unknown_.reset();
  HeldRequest wanted;
  std::unordered_map<SandboxId, std::uint64_t> held;
  std::unordered_map<SandboxId, std::uint64_t> said;
  for (const auto& version : inventory.assignments) {
    held[version.sandboxId] = version.generation;
    said[version.sandboxId] = version.sequence;
  }
  for (const auto& record : *records) {
    const auto generation = static_cast<std::uint64_t>(record.generation);
    const auto it = held.find(record.id);
    if (it != held.end() && it->second > generation) {
      // The agent knows a wish that this database does not: it was restored from a backup. Nothing is undone.
      logWarn("agent_is_ahead", {{"host", host_.text()}, {"sandbox", record.id.text()}, {"agent", it->second}, {"here", generation}});
    }
    if (it != held.end() && (it->second > generation || said[record.id] > static_cast<std::uint64_t>(record.sequence))) {
      wanted.sandboxIds.push_back(record.id);
    }
    if ((it != held.end() && it->second >= generation) || isParked(record)) continue;
    // Written here and not queued: a host may have more sandboxes than the queue holds.
    auto assignment = it == held.end() ? assignmentWithMemory(record) : assignmentOf(record);
    if (!co_await socket_->write(encode(ServerMessage{epoch_, std::move(assignment)}))) co_return;
  }
  for (const auto& [id, generation] : held) {
    const bool known = std::any_of(records->begin(), records->end(), [&](const auto& r) { return r.id == id; });
    // Left alone: destruction needs a wish of ours, and there is none.
    if (known) continue;
    logWarn("unknown_sandbox_on_host", {{"host", host_.text()}, {"sandbox", id.text()}});
    wanted.sandboxIds.push_back(id);
  }
  if (!canTellHeld_) co_return;
  untold_ = std::set<SandboxId>(wanted.sandboxIds.begin(), wanted.sandboxIds.end());
  if (untold_.empty()) hub_.noteReport(host_);
  if (!wanted.sandboxIds.empty()) send(std::move(wanted));
}

Task<void> AgentLink::onHeldSandbox(HeldSandbox held) {
  using Verdict = Store::Recovery::Verdict;
  const Working working(*this);
  const SandboxId id = held.assignment.sandboxId;
  auto outcome = co_await hub_.store_.recoverWish(host_, held);
  if (!outcome) {
    logWarn("held_sandbox_not_compared", {{"host", host_.text()}, {"sandbox", id.text()}, {"error", outcome.error().describe()}});
    co_return askAgainLater();
  }
  if (outcome->verdict == Verdict::kUnknown || outcome->verdict == Verdict::kYields) {
    if (outcome->verdict == Verdict::kYields) withdraw(held.assignment);
    if (!unknown_) unknown_ = std::make_unique<std::map<SandboxId, HeldSandbox>>();
    // No more than an inventory holds, whatever an agent sends unasked.
    if (unknown_->size() < kMostUnknown) unknown_->insert_or_assign(id, std::move(held));
    co_return told(id);
  }
  if (outcome->verdict == Verdict::kRecovered) {
    logInfo("wish_recovered", {{"host", host_.text()}, {"sandbox", id.text()}, {"generation", held.assignment.generation}});
  }
  if (outcome->verdict == Verdict::kClaimed) {
    logWarn("sandbox_claimed", {{"host", host_.text()}, {"sandbox", id.text()}, {"before", outcome->before.text()}});
    send(assignmentOf(outcome->record));
    // What it has of the sandbox is unknown to its next inventory, and is withdrawn.
    if (!outcome->before.empty()) hub_.askInventory(outcome->before);
  }
  if (held.observation) {
    // It may have been acknowledged by the database that is no more, and is not told again by itself.
    const auto taken = co_await hub_.store_.applyObservation(host_, std::move(*held.observation));
    if (!taken) logWarn("observation_not_applied", {{"host", host_.text()}, {"sandbox", id.text()}, {"error", taken.error().describe()}});
  }
  hub_.events_.notify(id);
  told(id);
}

// Another host has it. Stopped and kept: nobody asked for its destruction.
void AgentLink::withdraw(const Assignment& held) {
  logWarn("sandbox_elsewhere", {{"host", host_.text()}, {"sandbox", held.sandboxId.text()}, {"desired", desiredStateName(held.desired)}});
  if (held.desired != DesiredState::kRunning) return;
  Assignment stop = held;
  stop.desired = DesiredState::kStopped;
  stop.generation += 1;
  send(std::move(stop));
}

void AgentLink::told(const SandboxId& id) {
  if (untold_.erase(id) > 0 && untold_.empty()) hub_.noteReport(host_);
}

std::vector<HeldSandbox> AgentLink::unknownSandboxes() const {
  std::vector<HeldSandbox> out;
  if (!unknown_) return out;
  for (const auto& [id, held] : *unknown_) out.push_back(held);
  return out;
}

std::pair<std::uint64_t, std::shared_ptr<AgentLink::Confirmation>> AgentLink::awaitAnswer() {
  if (!confirmations_) confirmations_ = std::make_unique<std::map<std::uint64_t, std::shared_ptr<Confirmation>>>();
  const auto pending = std::make_shared<Confirmation>(Event(hub_.executor_), std::nullopt);
  confirmations_->emplace(nextRequest_, pending);
  return {nextRequest_++, pending};
}

Task<Result<std::uint32_t>> AgentLink::answerTo(std::uint64_t request, std::shared_ptr<Confirmation> pending, Deadline deadline) {
  while (!pending->reply && !ended_ && !deadline.expired()) co_await pending->done.waitUntil(deadline);
  confirmations_->erase(request);
  if (!pending->reply) {
    co_return fail(makeError(ErrorCode::kDeadlineExceeded, "the host did not answer; whether it took this is not known")
                       .withFix("look at the host's conditions, and repeat if the deletions are still held"));
  }
  if (pending->reply->error) co_return fail(std::move(*pending->reply->error));
  co_return pending->reply->released;
}

Task<Result<std::uint32_t>> AgentLink::confirmDeletions(std::string fence, Deadline deadline) {
  const auto self = shared_from_this();
  if (!canConfirm_) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "the host's agent is of a version that holds no deletions")
                       .withReason("agent_too_old"));
  }
  auto [id, pending] = awaitAnswer();
  send(ConfirmDeletions{id, std::move(fence)});
  co_return co_await answerTo(id, std::move(pending), deadline);
}

Task<Result<std::uint32_t>> AgentLink::rejectDeletions(std::string fence, Deadline deadline) {
  const auto self = shared_from_this();
  if (!canReject_) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "the host's agent is of a version that cannot be told to reject deletions")
                       .withReason("agent_too_old")
                       .withFix("they stay held as long as nobody confirms them; upgrade the agent"));
  }
  auto [id, pending] = awaitAnswer();
  send(RejectDeletions{id, std::move(fence)});
  co_return co_await answerTo(id, std::move(pending), deadline);
}

void AgentLink::markEnded() {
  ended_ = true;
  if (!confirmations_) return;
  for (auto& [id, pending] : *confirmations_) pending->done.notifyAll();
}

Task<void> AgentLink::onAssignmentAck(AssignmentAck ack) {
  if (!ack.refusal) co_return;
  logWarn("assignment_refused", {{"host", host_.text()}, {"sandbox", ack.sandboxId.text()}, {"error", ack.refusal->describe()}});
  // "You are behind" is no judgement of the spec.
  if (ack.refusal->code == ErrorCode::kAborted) co_return;
  if (!isJudgement(ack.refusal->code)) {
    askAgainLater();
    co_return;
  }
  const Working working(*this);
  const auto done = co_await hub_.store_.refuseAssignment(host_, ack.sandboxId, static_cast<std::int64_t>(ack.generation),
                                                          ack.refusal->message);
  if (!done) {
    logWarn("refusal_not_recorded", {{"sandbox", ack.sandboxId.text()}, {"error", done.error().describe()}});
    co_return;
  }
  hub_.events_.notify(ack.sandboxId);
}

// The inventory tells what the host has taken by then, and what is missing is sent anew.
void AgentLink::askAgainLater() {
  if (!std::exchange(askingAgain_, true)) hub_.tasks_.spawn("ask again", askAgain());
}

Task<void> AgentLink::askAgain() {
  const auto self = shared_from_this();
  co_await sleepFor(kAskAgain);
  askingAgain_ = false;
  send(InventoryRequest{});
}

Task<void> AgentLink::onObservation(Observation observation) {
  const SandboxId id = observation.sandboxId;
  auto sequence = observation.sequence;
  const auto generation = static_cast<std::int64_t>(observation.generation);
  const Working working(*this);
  const auto record = co_await hub_.store_.applyObservation(host_, std::move(observation));
  if (record) {
    hub_.events_.notify(id);
    // A host that begins to count anew is told from where on it is heard.
    if (record->observedGeneration == generation) sequence = std::max(sequence, static_cast<std::uint64_t>(record->sequence));
  } else {
    logWarn("observation_not_applied", {{"host", host_.text()}, {"sandbox", id.text()}, {"error", record.error().describe()}});
    // Not acknowledged: the agent sends it again when the store can take it.
    if (!isPoison(record.error().code)) co_return;
  }
  send(ObservationAck{id, sequence});
}

Task<void> AgentLink::onCredentialRequest(BlobCredentialRequest request) {
  auto reply = co_await credentialFor(std::move(request.manifest));
  if (!reply) {
    BlobCredentialReply failed;
    failed.error = std::move(reply).error();
    reply = std::move(failed);
  }
  reply->requestId = request.requestId;
  send(std::move(*reply));
}

Task<Result<BlobCredentialReply>> AgentLink::credentialFor(Digest manifest) {
  const Working working(*this);
  GS_CO_TRY(auto text, co_await hub_.store_.manifestFor(host_, std::move(manifest)));
  GS_CO_TRY(auto issued, hub_.credentials_.issue(host_, text));
  BlobCredentialReply reply;
  reply.credential = std::move(issued.credential);
  reply.expiresAt = issued.expiresAt;
  reply.manifest = std::move(text);
  co_return reply;
}

void AgentLink::expectSessions() {
  if (canExec_) channels_.keepSpares(hub_.settings_.spareChannels);
}

void AgentLink::assign(const Assignment& assignment) {
  // The host's own from now on, and once it was deleted nothing to adopt any more.
  if (unknown_) unknown_->erase(assignment.sandboxId);
  send(assignment);
}

void AgentLink::send(decltype(ServerMessage::body) body) {
  if (ended_) return;
  if (outbound_.size() >= hub_.settings_.maxOutbound) {
    logWarn("link_queue_full", {{"host", host_.text()}});
    return hub_.end(shared_from_this(), kShedLoad, "retry_after_ms=1000", "link_closed", GatewayHub::Ending::kRecorded);
  }
  outbound_.push_back(encode(ServerMessage{epoch_, std::move(body)}));
  if (draining_) return;
  draining_ = true;
  hub_.tasks_.spawn("link writer", drain());
}

Task<void> AgentLink::drain() {
  const auto self = shared_from_this();
  while (!outbound_.empty() && !ended_) {
    const std::string bytes = std::move(outbound_.front());
    outbound_.pop_front();
    if (!co_await socket_->write(bytes)) break;
  }
  draining_ = false;
}

}  // namespace gs

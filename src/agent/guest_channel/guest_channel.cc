#include "agent/guest_channel/guest_channel.h"

#include <unordered_map>

#include "agent/guest_channel/guest_connection.h"
#include "agent/guest_channel/guest_exec.h"
#include "agent/guest_channel/guest_messages.h"
#include "async/event.h"
#include "async/task_group.h"
#include "async/with_deadline.h"
#include "base/encoding.h"
#include "base/log.h"
#include "base/secret.h"

namespace gs {
namespace {

constexpr std::size_t kMaxUnidentified = 32;
// Nearly every frame of an honest guest answers one of ours; a faster one is made to wait, so that it cannot take the
// loop from other sandboxes.
constexpr int kMaxControlFramesPerSecond = 1000;
constexpr Millis kStrangerPause{1};
constexpr Millis kAcceptRetry{50};
constexpr Millis kLogInterval{10'000};
constexpr std::size_t kMostSessions = 600;  // of one sandbox: 512 that run, 64 that have ended

std::uint64_t randomNumber() {
  std::uint64_t number = 0;
  std::memcpy(&number, randomBytes(sizeof(number)).data(), sizeof(number));
  return number;
}

// A hostile sandbox chooses how often these happen; it must not choose how much we log.
class RareLog {
 public:
  void warn(std::string_view event, std::string_view sandboxId, std::string_view detail) {
    ++suppressed_;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + kLogInterval;
    logWarn(event, {{"sandbox", sandboxId}, {"detail", detail}, {"count", suppressed_}});
    suppressed_ = 0;
  }

 private:
  SteadyTime next_{};
  std::int64_t suppressed_ = 0;
};

class ListeningChannel final : public GuestChannel {
 public:
  ListeningChannel(Executor executor, GuestChannelSettings settings, std::unique_ptr<UnixListener> listener)
      : executor_(executor),
        settings_(std::move(settings)),
        listener_(std::move(listener)),
        changed_(executor),
        tasks_(executor),
        // Random, because a guest may still be ending an exec of the agent that ran before us.
        nextExecId_(randomNumber()) {
    tasks_.spawn("guest_accept", acceptLoop());
  }

  void setExpectedPid(std::optional<pid_t> pid) override {
    expectedPid_ = pid;
    if (pid && control_ && control_->peerPid() != *pid) control_->close();
    changed_.notifyAll();
  }
  [[nodiscard]] const GuestState& state() const override { return state_; }

  Task<GuestState> waitChange(std::uint64_t seen, Deadline deadline) override {
    const Call call(*this);
    while (!closed_ && state_.revision == seen && !deadline.expired()) co_await changed_.waitUntil(deadline);
    co_return state_;
  }
  Task<Status> waitConnected(Deadline deadline) override {
    const Call call(*this);
    co_return co_await connectedBy(deadline);
  }
  Task<Result<WorkloadState>> openGate(GateSpec spec, Deadline deadline) override;
  Task<Result<std::unique_ptr<GuestExec>>> startExec(ProcessSpec spec, Deadline deadline) override;
  Task<Result<std::shared_ptr<GuestConnection>>> startFiles(Deadline deadline) override;
  Task<Result<std::unique_ptr<GuestExec>>> attachSession(AttachSpec spec, Deadline deadline) override;
  Task<Result<std::vector<SessionSummary>>> listSessions(Deadline deadline) override;
  Task<Status> endSession(std::string id, SessionClaim claim, Deadline deadline) override;
  Task<Status> stopWorkload(Millis grace) override;
  Task<Result<ProcessExit>> waitWorkloadExit(Deadline deadline) override;
  Task<Result<OutputChunk>> readOutput(std::uint64_t offset, Deadline deadline) override;
  Task<Result<std::chrono::microseconds>> ping(Deadline deadline) override;
  Task<void> close() override;

 private:
  using ConnectionPtr = std::shared_ptr<GuestConnection>;

  // A call from outside that is under way; close() waits for all.
  class Call {
   public:
    explicit Call(ListeningChannel& channel) : channel_(channel) { ++channel_.calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (--channel_.calls_ == 0) channel_.changed_.notifyAll();
    }

   private:
    ListeningChannel& channel_;
  };
  // A connection that has not said yet what it is.
  class Unidentified {
   public:
    explicit Unidentified(ListeningChannel& channel) : channel_(&channel) { ++channel.unidentified_; }
    Unidentified(const Unidentified&) = delete;
    Unidentified& operator=(const Unidentified&) = delete;
    ~Unidentified() { release(); }
    void release() {
      auto* channel = std::exchange(channel_, nullptr);
      if (channel == nullptr) return;
      if (channel->unidentified_-- == kMaxUnidentified) channel->changed_.notifyAll();
    }

   private:
    ListeningChannel* channel_;
  };
  // An exec that was asked for and has no connection yet.
  struct PendingExec {
    std::string key;
    Event resolved;
    ConnectionPtr connection;
    std::optional<Error> failure;
  };
  class PendingEntry {
   public:
    PendingEntry(ListeningChannel& channel, std::uint64_t id, std::string key) : channel_(channel), id_(id) {
      channel_.pending_.emplace(id, PendingExec{std::move(key), Event(channel.executor_), {}, {}});
    }
    PendingEntry(const PendingEntry&) = delete;
    PendingEntry& operator=(const PendingEntry&) = delete;
    ~PendingEntry() { channel_.pending_.erase(id_); }
    // References into the map stay valid while other entries come and go.
    PendingExec& get() { return channel_.pending_.at(id_); }

   private:
    ListeningChannel& channel_;
    std::uint64_t id_;
  };
  // A question on the control connection that is answered by its nonce.
  using Answer = std::variant<std::monostate, SessionList, SessionEnding, Pong>;
  class Question {
   public:
    explicit Question(ListeningChannel& channel) : channel_(channel), nonce_(randomNumber()) {
      channel_.answers_.emplace(nonce_, Answer());
    }
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question() { channel_.answers_.erase(nonce_); }
    [[nodiscard]] std::uint64_t nonce() const { return nonce_; }
    Answer& answer() { return channel_.answers_.at(nonce_); }

   private:
    ListeningChannel& channel_;
    std::uint64_t nonce_;
  };
  // Sends, and waits for what takeAnswer() got. kUnavailable: not connected, or lost midway; kDeadlineExceeded.
  Task<Result<Answer>> ask(Question& question, std::string payload, std::string what, Deadline deadline);
  void takeAnswer(std::uint64_t nonce, Answer answer);
  Status checkKeepsSessions() const;
  // Asks for something that has a connection of its own (`payload` names it by id and key), and waits for that.
  Task<Result<ConnectionPtr>> connectData(std::uint64_t id, std::string key, std::string payload, std::string_view what, Deadline deadline);
  // The same for a process or a session.
  Task<Result<std::unique_ptr<GuestExec>>> connectExec(std::uint64_t id, std::string key, std::string payload,
                                                       ExecStreams streams, Deadline deadline);

  Task<void> acceptLoop();
  Task<void> serve(ConnectionPtr connection);
  static Task<Result<GuestFrame>> readGuestFrame(ConnectionPtr connection);
  void attachExec(ConnectionPtr connection, const ExecAttach& attach);
  Task<void> serveControl(ConnectionPtr connection, GuestHello hello);
  // False: the guest broke the protocol.
  bool takeFrame(GuestFrame frame);
  void controlLost(const ConnectionPtr& connection, const Error& why);
  Task<Status> connectedBy(Deadline deadline);
  void stateChanged();
  static Error closedError() { return makeError(ErrorCode::kCancelled, "the channel to the sandbox was closed"); }

  Executor executor_;
  GuestChannelSettings settings_;
  std::unique_ptr<UnixListener> listener_;
  Event changed_;
  TaskGroup tasks_;
  GuestState state_;
  std::optional<pid_t> expectedPid_;
  ConnectionPtr control_;
  std::uint64_t gateAnswers_ = 0;
  std::unordered_map<std::uint64_t, Answer> answers_;
  bool outputAsked_ = false;
  std::optional<std::vector<OutputRecord>> output_;  // the answer
  std::uint64_t nextExecId_;
  std::unordered_map<std::uint64_t, PendingExec> pending_;
  std::size_t unidentified_ = 0;
  int calls_ = 0;
  bool closed_ = false;
  RareLog strangers_;
  RareLog offences_;
};

void ListeningChannel::stateChanged() {
  ++state_.revision;
  changed_.notifyAll();
}

Task<void> ListeningChannel::acceptLoop() {
  while (!closed_) {
    // Not accepting, rather than dropping: an honest burst of execs waits in the listener's queue.
    if (unidentified_ >= kMaxUnidentified) {
      co_await changed_.waitUntil(Deadline::never());
      continue;
    }
    auto stream = co_await listener_->accept();
    if (closed_) co_return;
    if (!stream) {
      offences_.warn("guest_accept_failed", settings_.sandboxId, stream.error().message);
      co_await sleepFor(kAcceptRetry);
      continue;
    }
    auto connection = std::make_shared<GuestConnection>(executor_, std::move(*stream));
    if (expectedPid_ && connection->peerPid() != *expectedPid_) {
      strangers_.warn("guest_stranger_dropped", settings_.sandboxId, fmt::format("pid {}", connection->peerPid()));
      // A process of the sandbox that dials in a loop keeps its own sandbox waiting, and nobody else.
      co_await sleepFor(kStrangerPause);
      continue;
    }
    tasks_.spawn("guest_connection", serve(std::move(connection)));
  }
}

Task<Result<GuestFrame>> ListeningChannel::readGuestFrame(ConnectionPtr connection) {
  GS_CO_TRY(const auto payload, co_await connection->readFrame());
  co_return decodeGuestFrame(payload);
}

Task<void> ListeningChannel::serve(ConnectionPtr connection) {
  Unidentified unidentified(*this);
  auto first = co_await withDeadline(Deadline::after(settings_.handshakeTimeout), "the guest's first frame",
                                     readGuestFrame(connection));
  while (!expectedPid_ && !closed_) co_await changed_.waitUntil(Deadline::never());
  if (closed_) co_return;
  if (connection->peerPid() != *expectedPid_) {
    strangers_.warn("guest_stranger_dropped", settings_.sandboxId, fmt::format("pid {}", connection->peerPid()));
    co_return;
  }
  unidentified.release();
  if (!first) {
    offences_.warn("guest_handshake_failed", settings_.sandboxId, first.error().message);
  } else if (const auto* attach = std::get_if<ExecAttach>(&*first)) {
    attachExec(std::move(connection), *attach);
  } else if (auto* hello = std::get_if<GuestHello>(&*first)) {
    co_await serveControl(std::move(connection), std::move(*hello));
  } else {
    offences_.warn("guest_handshake_failed", settings_.sandboxId, "the first frame is no hello");
  }
}

void ListeningChannel::attachExec(ConnectionPtr connection, const ExecAttach& attach) {
  const auto found = pending_.find(attach.execId);
  if (found == pending_.end() || found->second.connection || !constantTimeEqual(found->second.key, attach.key)) {
    offences_.warn("guest_attach_refused", settings_.sandboxId, "no such exec is waiting");
    return;
  }
  found->second.connection = std::move(connection);
  found->second.resolved.notifyAll();
}

Task<void> ListeningChannel::serveControl(ConnectionPtr connection, GuestHello hello) {
  if (hello.protocol != kGuestProtocol) {
    offences_.warn("guest_protocol_unknown", settings_.sandboxId, fmt::format("protocol {}", hello.protocol));
    co_return;
  }
  // The newest counts: a guest dials again when it holds the old one for dead.
  if (control_) control_->close();
  control_ = connection;
  state_.connected = true;
  state_.gateOpen = hello.gateOpen;
  state_.workload = std::move(hello.workload);
  state_.version = std::move(hello.version);
  state_.servesFiles = hello.servesFiles;
  state_.keepsSessions = hello.keepsSessions;
  state_.outputRun = std::move(hello.outputRun);
  state_.outputEnd = hello.outputEnd;
  outputAsked_ = false;
  output_.reset();
  logInfo("guest_connected", {{"sandbox", settings_.sandboxId}, {"version", state_.version}, {"gateOpen", state_.gateOpen}});
  stateChanged();

  auto window = Deadline::after(Millis(1000));
  int frames = 0;
  Error why;
  while (true) {
    if (window.expired()) {
      window = Deadline::after(Millis(1000));
      frames = 0;
    }
    if (++frames > kMaxControlFramesPerSecond) co_await sleepUntil(window);
    auto frame = co_await readGuestFrame(connection);
    // Replaced meanwhile: its last words must not change what the newer one said.
    if (control_ != connection) co_return;
    if (frame && !takeFrame(std::move(*frame))) frame = fail(ErrorCode::kDataLoss, "the guest broke the protocol");
    if (frame) continue;
    why = std::move(frame).error();
    break;
  }
  connection->close();
  controlLost(connection, why);
}

bool ListeningChannel::takeFrame(GuestFrame frame) {
  if (auto* opened = std::get_if<GateOpened>(&frame)) {
    state_.gateOpen = true;
    state_.workload = std::move(opened->workload);
    ++gateAnswers_;
    stateChanged();
  } else if (auto* exited = std::get_if<WorkloadExited>(&frame)) {
    // Only a running one can end, and only once.
    if (state_.workload.phase != WorkloadState::Phase::kRunning) return false;
    state_.workload = {.phase = WorkloadState::Phase::kExited, .pid = 0, .exit = std::move(exited->exit),
                       .endedWithSandbox = exited->sandboxStopping};
    state_.outputEnd = exited->outputEnd;
    stateChanged();
  } else if (auto* failed = std::get_if<ExecFailed>(&frame)) {
    const auto found = pending_.find(failed->execId);
    // Unknown: one whose deadline has passed here.
    if (found == pending_.end()) return true;
    found->second.failure = std::move(failed->error);
    found->second.resolved.notifyAll();
  } else if (const auto* pong = std::get_if<Pong>(&frame)) {
    takeAnswer(pong->nonce, *pong);
  } else if (auto* list = std::get_if<SessionList>(&frame)) {
    takeAnswer(list->nonce, std::move(*list));
  } else if (const auto* ending = std::get_if<SessionEnding>(&frame)) {
    takeAnswer(ending->nonce, *ending);
  } else if (auto* output = std::get_if<OutputRecords>(&frame)) {
    // Unasked, a guest could make us hold any amount of it.
    if (!std::exchange(outputAsked_, false)) return false;
    output_ = std::move(output->records);
    changed_.notifyAll();
  } else {
    return std::holds_alternative<std::monostate>(frame);
  }
  return true;
}

void ListeningChannel::controlLost(const ConnectionPtr& connection, const Error& why) {
  if (control_ != connection) return;
  control_.reset();
  state_.connected = false;
  if (why.code == ErrorCode::kDataLoss) {
    offences_.warn("guest_protocol_broken", settings_.sandboxId, why.message);
  } else {
    logInfo("guest_lost", {{"sandbox", settings_.sandboxId}, {"reason", why.message}});
  }
  stateChanged();
  for (auto& [id, exec] : pending_) exec.resolved.notifyAll();
}

Task<Status> ListeningChannel::connectedBy(Deadline deadline) {
  while (!closed_ && !control_) {
    if (deadline.expired()) {
      co_return fail(makeError(ErrorCode::kDeadlineExceeded, "the sandbox's guest did not connect in time")
                         .withReason("guest_not_connected"));
    }
    co_await changed_.waitUntil(deadline);
  }
  if (closed_) co_return fail(closedError());
  co_return Status();
}

Task<Result<WorkloadState>> ListeningChannel::openGate(GateSpec spec, Deadline deadline) {
  const Call call(*this);
  GS_CO_TRY(const auto payload, encodeOpenGate(spec));
  while (true) {
    GS_CO_CHECK(co_await connectedBy(deadline));
    const auto control = control_;
    const auto answers = gateAnswers_;
    auto sent = co_await withDeadline(deadline, "opening the sandbox's gate", control->writeFrame(payload));
    if (!sent && sent.error().code == ErrorCode::kDeadlineExceeded) co_return fail(std::move(sent).error());
    // The reader of a broken connection notices too, and then the guest is waited for again.
    while (!closed_ && control_ == control && gateAnswers_ == answers) {
      if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the guest did not open its gate in time");
      co_await changed_.waitUntil(deadline);
    }
    if (closed_) co_return fail(closedError());
    if (gateAnswers_ != answers) co_return state_.workload;
  }
}

Task<Result<std::unique_ptr<GuestExec>>> ListeningChannel::startExec(ProcessSpec spec, Deadline deadline) {
  const Call call(*this);
  const std::uint64_t id = nextExecId_++;
  const auto key = randomBytes(kExecKeyBytes);
  GS_CO_TRY(auto payload, encodeStartExec(id, key, spec));
  co_return co_await connectExec(id, key, std::move(payload), spec.terminal ? ExecStreams::kTerminal : ExecStreams::kPipes,
                                 deadline);
}

Task<Result<std::unique_ptr<GuestExec>>> ListeningChannel::attachSession(AttachSpec spec, Deadline deadline) {
  const Call call(*this);
  const std::uint64_t id = nextExecId_++;
  const auto key = randomBytes(kExecKeyBytes);
  GS_CO_TRY(auto payload, encodeAttachSession(id, key, spec));
  GS_CO_CHECK(co_await connectedBy(deadline));
  GS_CO_CHECK(checkKeepsSessions());
  co_return co_await connectExec(id, key, std::move(payload), ExecStreams::kPipes, deadline);
}

Task<Result<std::unique_ptr<GuestExec>>> ListeningChannel::connectExec(std::uint64_t id, std::string key, std::string payload,
                                                                       ExecStreams streams, Deadline deadline) {
  GS_CO_TRY(auto connection, co_await connectData(id, std::move(key), std::move(payload), "a process", deadline));
  co_return co_await withDeadline(deadline, "starting the process", beginExec(std::move(connection), streams));
}

Status ListeningChannel::checkKeepsSessions() const {
  if (state_.keepsSessions) return {};
  return fail(makeError(ErrorCode::kFailedPrecondition, "the sandbox was started by an older version, which keeps no sessions")
                  .withReason("reattach_unsupported")
                  .withFix("stop the sandbox and start it again"));
}

void ListeningChannel::takeAnswer(std::uint64_t nonce, Answer answer) {
  const auto found = answers_.find(nonce);
  // Unknown: one whose deadline has passed here.
  if (found == answers_.end()) return;
  found->second = std::move(answer);
  changed_.notifyAll();
}

Task<Result<ListeningChannel::Answer>> ListeningChannel::ask(Question& question, std::string payload, std::string what,
                                                             Deadline deadline) {
  const auto control = control_;
  if (closed_) co_return fail(closedError());
  if (!control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest is not connected");
  GS_CO_CHECK(co_await withDeadline(deadline, what, control->writeFrame(std::move(payload))));
  while (std::holds_alternative<std::monostate>(question.answer())) {
    if (closed_) co_return fail(closedError());
    if (control_ != control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest went away");
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, what + " took too long");
    co_await changed_.waitUntil(deadline);
  }
  co_return std::move(question.answer());
}

Task<Result<std::vector<SessionSummary>>> ListeningChannel::listSessions(Deadline deadline) {
  const Call call(*this);
  GS_CO_CHECK(co_await connectedBy(deadline));
  GS_CO_CHECK(checkKeepsSessions());
  std::vector<SessionSummary> out;
  // A guest that never comes to an end is left there.
  while (out.size() < kMostSessions) {
    Question question(*this);
    const std::string after = out.empty() ? "" : out.back().id;
    GS_CO_TRY(auto answer, co_await ask(question, encodeListSessions(question.nonce(), after), "listing the sessions", deadline));
    auto* list = std::get_if<SessionList>(&answer);
    if (list == nullptr) co_return fail(ErrorCode::kDataLoss, "the guest gave another answer than a list");
    const auto count = list->sessions.size();
    std::move(list->sessions.begin(), list->sessions.end(), std::back_inserter(out));
    if (count < kMostListedSessions) break;
  }
  if (out.size() > kMostSessions) out.resize(kMostSessions);
  co_return out;
}

Task<Status> ListeningChannel::endSession(std::string id, SessionClaim claim, Deadline deadline) {
  const Call call(*this);
  GS_CO_CHECK(co_await connectedBy(deadline));
  GS_CO_CHECK(checkKeepsSessions());
  Question question(*this);
  GS_CO_TRY(auto payload, encodeEndSession(question.nonce(), id, claim));
  GS_CO_TRY(const auto answer, co_await ask(question, std::move(payload), "ending the session", deadline));
  const auto* ending = std::get_if<SessionEnding>(&answer);
  if (ending == nullptr) co_return fail(ErrorCode::kDataLoss, "the guest gave another answer than whether it ends");
  if (!ending->found) co_return fail(ErrorCode::kNotFound, "there is no such session, or not any more");
  co_return Status();
}

Task<Result<std::shared_ptr<GuestConnection>>> ListeningChannel::startFiles(Deadline deadline) {
  const Call call(*this);
  const std::uint64_t id = nextExecId_++;
  const auto key = randomBytes(kExecKeyBytes);
  GS_CO_CHECK(co_await connectedBy(deadline));
  if (!state_.servesFiles) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "the sandbox was started before its host could do file operations")
                       .withReason("files_unsupported")
                       .withFix("stop and start the sandbox"));
  }
  co_return co_await connectData(id, key, encodeStartFiles(id, key), "a file operation", deadline);
}

Task<Result<ListeningChannel::ConnectionPtr>> ListeningChannel::connectData(std::uint64_t id, std::string key, std::string payload,
                                                                            std::string_view what, Deadline deadline) {
  GS_CO_CHECK(co_await connectedBy(deadline));
  PendingEntry entry(*this, id, std::move(key));
  auto& pending = entry.get();
  const auto control = control_;
  GS_CO_CHECK(co_await withDeadline(deadline, fmt::format("asking the guest for {}", what), control->writeFrame(std::move(payload))));
  while (!pending.connection && !pending.failure) {
    if (closed_) co_return fail(closedError());
    if (control_ != control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest went away");
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, fmt::format("the guest did not begin {} in time", what));
    co_await pending.resolved.waitUntil(deadline);
  }
  if (pending.failure) co_return fail(std::move(*pending.failure));
  co_return std::move(pending.connection);
}

Task<Status> ListeningChannel::stopWorkload(Millis grace) {
  const Call call(*this);
  if (closed_) co_return fail(closedError());
  const auto control = control_;
  if (!control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest is not connected");
  co_return co_await withDeadline(Deadline::after(settings_.handshakeTimeout), "asking the guest to stop the workload",
                                  control->writeFrame(encodeStopWorkload(grace)));
}

Task<Result<ProcessExit>> ListeningChannel::waitWorkloadExit(Deadline deadline) {
  const Call call(*this);
  while (true) {
    if (closed_) co_return fail(closedError());
    if (state_.workload.phase == WorkloadState::Phase::kExited) co_return state_.workload.exit;
    if (state_.gateOpen && state_.workload.phase == WorkloadState::Phase::kNone) {
      co_return fail(ErrorCode::kFailedPrecondition, "the sandbox has no workload");
    }
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the workload did not end in time");
    co_await changed_.waitUntil(deadline);
  }
}

Task<Result<OutputChunk>> ListeningChannel::readOutput(std::uint64_t offset, Deadline deadline) {
  const Call call(*this);
  if (closed_) co_return fail(closedError());
  const auto control = control_;
  if (!control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest is not connected");
  const auto run = state_.outputRun;
  if (run.empty()) co_return fail(ErrorCode::kFailedPrecondition, "this guest keeps no output");
  outputAsked_ = true;
  output_.reset();
  const auto asking = Deadline::after(settings_.handshakeTimeout);
  GS_CO_CHECK(co_await withDeadline(asking, "asking the guest for output", control->writeFrame(encodeReadOutput(offset))));
  while (!output_) {
    if (closed_) co_return fail(closedError());
    if (control_ != control) co_return fail(ErrorCode::kUnavailable, "the sandbox's guest went away");
    // It stays asked: an answer that comes later is one to the next call.
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the workload has written nothing");
    co_await changed_.waitUntil(deadline);
  }
  OutputChunk chunk{run, std::move(*output_)};
  output_.reset();
  co_return chunk;
}

Task<Result<std::chrono::microseconds>> ListeningChannel::ping(Deadline deadline) {
  const Call call(*this);
  Question question(*this);
  const auto start = std::chrono::steady_clock::now();
  GS_CO_TRY([[maybe_unused]] const auto answer,
            co_await ask(question, encodePing(question.nonce()), "the guest's answer to a ping", deadline));
  co_return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
}

Task<void> ListeningChannel::close() {
  closed_ = true;
  listener_->close();
  if (control_) control_->close();
  for (auto& [id, exec] : pending_) exec.resolved.notifyAll();
  changed_.notifyAll();
  co_await tasks_.cancelAndJoin();
  while (calls_ > 0) {
    for (auto& [id, exec] : pending_) exec.resolved.notifyAll();
    co_await changed_.waitFor(Millis(100));
  }
  control_.reset();
  state_.connected = false;
}

}  // namespace

Result<std::unique_ptr<GuestChannel>> listenForGuest(Executor executor, GuestChannelSettings settings) {
  GS_TRY(auto listener, listenUnix(executor, settings.socketPath));
  return std::make_unique<ListeningChannel>(std::move(executor), std::move(settings), std::move(listener));
}

}  // namespace gs

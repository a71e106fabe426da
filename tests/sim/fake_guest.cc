#include "fake_guest.h"

#include <csignal>

namespace gs::sim {

FakeGuest::FakeGuest(FakeEngine& engine, Simulation& simulation, Process& agent, SandboxId id)
    : engine_(engine), simulation_(simulation), agent_(agent), id_(std::move(id)), changed_(simulation.executor()) {
  engine_.guests_.push_back(this);
}

FakeGuest::~FakeGuest() {
  *here_ = false;
  std::erase(engine_.guests_, this);
}

const FakeContainer* FakeGuest::container() const {
  const auto found = engine_.containers_.find(id_);
  return found == engine_.containers_.end() ? nullptr : &found->second;
}

void FakeGuest::lookSoon() {
  simulation_.after(simulation_.random.between(Millis(1), Millis(simulation_.mishap(20) ? 5'000 : 50)), [this, here = here_] {
    if (*here) look();
  });
}

void FakeGuest::look() {
  const auto* there = container();
  GuestState now = state_;
  now.connected = !closed_ && there != nullptr && there->seen.alive() && expected_ && *expected_ == there->seen.pid;
  if (now.connected) {
    now.gateOpen = there->gateOpen;
    now.workload = there->workload;
  }
  if (now.connected == state_.connected && now.gateOpen == state_.gateOpen && now.workload == state_.workload) return;
  now.revision = state_.revision + 1;
  state_ = now;
  changed_.notifyAll();
}

void FakeGuest::setExpectedPid(std::optional<pid_t> pid) {
  if (expected_ == pid) return;
  expected_ = pid;
  lookSoon();
}

Task<GuestState> FakeGuest::waitChange(std::uint64_t seen, Deadline deadline) {
  while (state_.revision == seen && !closed_ && !deadline.expired()) co_await changed_.waitUntil(deadline);
  co_return state_;
}

Task<Status> FakeGuest::waitConnected(Deadline deadline) {
  while (!state_.connected && !closed_ && !deadline.expired()) co_await changed_.waitUntil(deadline);
  if (closed_) co_return fail(ErrorCode::kCancelled, "closed");
  if (!state_.connected) co_return fail(ErrorCode::kDeadlineExceeded, "no guest");
  co_return Status();
}

Task<Result<WorkloadState>> FakeGuest::openGate(GateSpec spec, Deadline deadline) {
  while (true) {
    if (auto there = co_await waitConnected(deadline); !there) {
      const auto found = engine_.containers_.find(id_);
      if (there.error().code == ErrorCode::kDeadlineExceeded && found != engine_.containers_.end()) {
        found->second.gateTimedOut = true;
        engine_.ledger_.excuse(id_, "guest_lost");
      }
      co_return std::unexpected(std::move(there).error());
    }
    if (state_.gateOpen) co_return state_.workload;
    if (!agent_.alive()) co_return fail(ErrorCode::kCancelled, "closed");
    engine_.openGate(id_, expected_.value_or(0), spec.workload.has_value());
    const auto revision = state_.revision;
    co_await changed_.waitUntil(Deadline::after(Millis(1000)).earlier(deadline));
    if (closed_) co_return fail(ErrorCode::kCancelled, "closed");
    if (state_.revision == revision && deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the gate took too long");
  }
}

Task<Result<std::unique_ptr<GuestExec>>> FakeGuest::startExec(ProcessSpec, Deadline) {
  co_return fail(ErrorCode::kUnimplemented, "the simulated guest runs nothing");
}

Task<Result<std::shared_ptr<GuestConnection>>> FakeGuest::startFiles(Deadline) {
  co_return fail(ErrorCode::kUnimplemented, "the simulated guest has no files");
}

Task<Result<std::unique_ptr<GuestExec>>> FakeGuest::attachSession(AttachSpec, Deadline) {
  co_return fail(ErrorCode::kUnimplemented, "the simulated guest runs nothing");
}

Task<Result<std::vector<SessionSummary>>> FakeGuest::listSessions(Deadline) { co_return std::vector<SessionSummary>(); }

Task<Status> FakeGuest::endSession(std::string, SessionClaim, Deadline) {
  co_return fail(ErrorCode::kNotFound, "the simulated guest runs nothing");
}

Task<Status> FakeGuest::stopWorkload(Millis grace) {
  if (!state_.connected || !agent_.alive()) co_return fail(ErrorCode::kUnavailable, "not connected");
  engine_.workloadStopAsked(id_);
  const bool obeys = simulation_.random.chance(700);
  const auto when = obeys ? simulation_.random.between(Millis(1), Millis(200)) : grace;
  simulation_.after(when, [engine = &engine_, id = id_, pid = *expected_, obeys] { engine->endWorkload(id, pid, {0, obeys ? SIGTERM : SIGKILL, ""}); });
  co_return Status();
}

Task<Result<ProcessExit>> FakeGuest::waitWorkloadExit(Deadline deadline) {
  while (state_.workload.phase != WorkloadState::Phase::kExited) {
    if (closed_) co_return fail(ErrorCode::kCancelled, "closed");
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the workload runs on");
    co_await changed_.waitUntil(deadline);
  }
  co_return state_.workload.exit;
}

Task<Result<std::chrono::microseconds>> FakeGuest::ping(Deadline) { co_return std::chrono::microseconds(1); }

Task<void> FakeGuest::close() {
  closed_ = true;
  look();
  changed_.notifyAll();
  co_return;
}

}  // namespace gs::sim

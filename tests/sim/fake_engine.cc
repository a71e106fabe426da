#include "fake_engine.h"

#include "fake_guest.h"

namespace gs::sim {
namespace {

constexpr unsigned kDieAtCall = 8;
constexpr unsigned kRefuse = 25;
constexpr unsigned kLoseAnswer = 25;
constexpr unsigned kLie = 6;
constexpr unsigned kHang = 4;
constexpr unsigned kSlow = 30;
constexpr unsigned kOutOfSpace = 8;
constexpr unsigned kRemoving = 10;
constexpr unsigned kDoubleEvent = 50;
constexpr unsigned kWorkloadEnds = 150;
constexpr unsigned kDiesAtOnce = 40;
constexpr int kKilled = 137;

std::unexpected<Error> noAnswer() {
  return fail(makeError(ErrorCode::kUnavailable, "the engine does not answer").withReason("docker_unreachable"));
}

}  // namespace

struct FakeEngine::Watch final : RuntimeWatch {
  explicit Watch(std::shared_ptr<Watcher> w) : watcher(std::move(w)) {}
  Task<Result<SandboxId>> next() override { return nextOf(watcher); }
  static Task<Result<SandboxId>> nextOf(std::shared_ptr<Watcher> watcher) {
    auto id = co_await watcher->events.pop();
    if (!id) co_return noAnswer();
    co_return std::move(*id);
  }
  std::shared_ptr<Watcher> watcher;
};

FakeEngine::FakeEngine(Simulation& simulation, Ledger& ledger, Process& agent, Host host)
    : simulation_(simulation), ledger_(ledger), agent_(agent), host_(std::move(host)) {}

// The shape of every call: asked, done after a moment, answered after another, each of which may go wrong.
template <class R>
Task<Result<R>> FakeEngine::call(std::string what, SandboxId id, Deadline deadline, std::function<Result<R>()> effect) {
  struct Answer {
    explicit Answer(const Executor& executor) : changed(executor) {}
    Event changed;
    std::optional<Result<R>> result;
    void give(Result<R> r) {
      result.emplace(std::move(r));
      changed.notifyAll();
    }
  };
  agent_.mayDie(kDieAtCall, what + ".before");
  if (!agent_.alive()) co_return noAnswer();
  auto& simulation = simulation_;
  const auto answer = std::make_shared<Answer>(simulation.executor());
  const bool refused = (!up_ && outage_ != Outage::kHangs) || simulation.mishap(kRefuse);
  const bool lost = simulation.mishap(kLoseAnswer);
  const bool hangs = simulation.mishap(kHang);
  const auto asked = Millis(1) + Millis(simulation.random.below(simulation.mishap(kSlow) ? 2'000 : 20));
  const auto told = Millis(1) + Millis(simulation.random.below(simulation.mishap(kSlow) ? 2'000 : 5));
  auto act = std::make_shared<std::function<void()>>([this, answer, what, id, refused, lost, hangs, told, life = life_, effect = std::move(effect)] {
    if (refused || !up_ || life != life_) {
      simulation_.trace("{} engine {} {} refused", agent_.name(), what, id);
      return answer->give(noAnswer());
    }
    // An answer to a wish, not to a question, may say "done" of what was not done.
    if constexpr (std::is_void_v<R>) {
      if (simulation_.mishap(kLie)) {
        simulation_.trace("{} engine {} {} lies", agent_.name(), what, id);
        return answer->give(Result<R>());
      }
    }
    auto result = effect();
    simulation_.trace("{} engine {} {} {}{}", agent_.name(), what, id, result ? "done" : result.error().message,
                      lost ? ", answer lost" : hangs ? ", hangs" : "");
    agent_.mayDie(kDieAtCall, what + ".after");
    if (hangs) return;
    simulation_.after(told, [answer, lost, result = std::move(result)]() mutable {
      answer->give(lost ? Result<R>(noAnswer()) : std::move(result));
    });
  });
  simulation.after(asked, [this, act = std::move(act)] {
    if (!up_ && outage_ == Outage::kHangs) return stuck_.push_back(act);
    (*act)();
  });
  while (!answer->result && !deadline.expired()) co_await answer->changed.waitUntil(deadline);
  if (!answer->result) co_return fail(ErrorCode::kDeadlineExceeded, "the engine took too long to answer");
  co_return std::move(*answer->result);
}

Task<RuntimeReport> FakeEngine::health(Deadline) {
  RuntimeReport report;
  report.health.name = "docker";
  report.health.state = up_ ? RuntimeState::kHealthy : RuntimeState::kUnhealthy;
  co_return report;
}

Task<Status> FakeEngine::create(ContainerPlan plan, Deadline deadline) {
  const auto id = plan.sandboxId;
  return call<void>("create", id, deadline, [this, plan = std::move(plan)] { return doCreate(plan); });
}

Task<Status> FakeEngine::start(SandboxId id, Deadline deadline) {
  const auto held = host_.held(id);
  const auto generation = held ? held->runGeneration : 0;
  const auto policy = held ? held->assignment.spec.restart : RestartPolicy();
  const auto before = containers_.find(id);
  const bool wasOver = before != containers_.end() && before->second.endedBy == EndedBy::kItself;
  co_return co_await call<void>("start", id, deadline, [this, id, generation, policy, wasOver] {
    return doStart(id, generation, wasOver ? std::optional(policy) : std::nullopt);
  });
}

void FakeEngine::lookAtReach(FakeContainer& container) {
  if (container.stopAfter != Millis(0) && host_.outOfReachFor() >= container.stopAfter) container.disconnectStop = true;
}

bool FakeEngine::mayEnd(const SandboxId& id) {
  const auto held = host_.held(id);
  if (!held) return false;
  const auto found = containers_.find(id);
  if (found != containers_.end()) lookAtReach(found->second);
  // What was begun is finished, whatever comes.
  if (found != containers_.end() && found->second.disconnectStop) return true;
  // It has a root file system that is to be replaced.
  if (found != containers_.end() && held->assignment.rootGeneration > found->second.seen.generation) return true;
  // Or a start that was late made it run although its end is wanted.
  return held->failedGeneration == held->assignment.generation || held->assignment.desired != DesiredState::kRunning;
}

Task<Status> FakeEngine::stop(SandboxId id, Millis, Deadline deadline) {
  const bool may = mayEnd(id);
  if (const auto found = containers_.find(id); found != containers_.end()) found->second.stopAsked = true;
  const auto asked = containers_.find(id);
  const int pid = asked == containers_.end() ? 0 : asked->second.seen.pid;
  return call<void>("stop", id, deadline, [this, id, may, pid] { return doStop(id, may, pid); });
}

Task<Status> FakeEngine::remove(SandboxId id, Deadline deadline) {
  const auto found = containers_.find(id);
  if (agent_.alive() && found != containers_.end() && !host_.mayDestroy(id, found->second.seen.generation)) {
    simulation_.violate("held", fmt::format("the container of {} is removed, and no destruction of it is released", id));
  }
  const std::string asked = found == containers_.end() ? "" : found->second.seen.nativeId;
  return call<void>("remove", id, deadline, [this, id, asked] { return doRemove(id, asked); });
}

Task<Result<std::optional<RuntimeContainer>>> FakeEngine::inspect(SandboxId id, Deadline deadline) {
  using Answer = std::optional<RuntimeContainer>;
  return call<Answer>("inspect", id, deadline, [this, id]() -> Result<Answer> {
    const auto found = containers_.find(id);
    if (found == containers_.end()) return Answer();
    auto seen = found->second.seen;
    if (seen.phase == ContainerPhase::kExited && simulation_.mishap(kRemoving)) seen.phase = ContainerPhase::kRemoving;
    return Answer(seen);
  });
}

Task<Result<std::vector<RuntimeContainer>>> FakeEngine::list(HostId, Deadline deadline) {
  using Answer = std::vector<RuntimeContainer>;
  return call<Answer>("list", SandboxId(), deadline, [this]() -> Result<Answer> {
    Answer all;
    for (const auto& [id, container] : containers_) all.push_back(container.seen);
    return all;
  });
}

Task<Result<std::unique_ptr<RuntimeWatch>>> FakeEngine::watch(HostId, Deadline deadline) {
  while (!up_ && outage_ == Outage::kHangs && !deadline.expired()) co_await sleepFor(Millis(200));
  if (!up_ || !agent_.alive()) co_return noAnswer();
  auto watcher = std::make_shared<Watcher>(simulation_.executor());
  watchers_.push_back(watcher);
  co_return std::make_unique<Watch>(watcher);
}

Status FakeEngine::doCreate(const ContainerPlan& plan) {
  const auto& id = plan.sandboxId;
  if (!ledger_.arrived(id, plan.generation)) {
    simulation_.violate("assignment", fmt::format("a container of {} is created for generation {}, which was never assigned", id, plan.generation));
  }
  if (const auto found = containers_.find(id); found != containers_.end()) {
    if (found->second.seen.generation == plan.generation) return {};
    return fail(makeError(ErrorCode::kAborted, "another generation's container is there").withReason("generation_differs"));
  }
  if (simulation_.mishap(kOutOfSpace)) {
    ledger_.excuse(id, "runtime_error");
    return fail(ErrorCode::kResourceExhausted, "no space left on device");
  }
  auto& container = containers_[id];
  container.seen.sandboxId = id;
  container.seen.hostId = plan.hostId;
  container.seen.generation = plan.generation;
  container.stopAfter = plan.spec.stopAfterDisconnect;
  container.seen.nativeId = fmt::format("container-{}", nextPid_);
  return {};
}

Status FakeEngine::doStart(const SandboxId& id, std::uint64_t runGeneration, std::optional<RestartPolicy> afterEnd) {
  const auto found = containers_.find(id);
  if (found == containers_.end()) return fail(ErrorCode::kNotFound, "no such container");
  auto& container = found->second;
  if (container.seen.alive()) return {};
  // One that ended while the request was on its way could not be known. And an engine that is in another life may be held
  // to have ended it, or a stop that was late.
  if (container.runGeneration != runGeneration) container.restarts = 0;
  if (afterEnd && container.endedBy == EndedBy::kItself && container.runGeneration == runGeneration && container.startedIn == life_ &&
      !container.stopAsked && !container.disconnectStop) {
    checkRestart(container, runGeneration, *afterEnd);
  }
  container.runGeneration = runGeneration;
  container.endedBy = EndedBy::kNothing;
  container.startedIn = life_;
  container.stopAsked = false;
  container.gateTimedOut = false;
  container.guestDied = container.disconnectStop = container.endBegun = false;
  container.gateOpen = false;
  container.workload = {};
  container.seen.phase = ContainerPhase::kRunning;
  container.seen.pid = ++nextPid_;
  container.seen.startedAt = SystemClock().wallNow();
  container.seen.exitCode = 0;
  changed(id);
  if (simulation_.mishap(kDiesAtOnce)) {
    simulation_.after(Millis(simulation_.random.below(300)), [this, id, pid = container.seen.pid] {
      const auto it = containers_.find(id);
      if (it == containers_.end() || it->second.seen.pid != pid || !it->second.seen.alive()) return;
      simulation_.trace("{} guest of {} dies", agent_.name(), id);
      it->second.guestDied = true;
      end(it->second, kKilled, EndedBy::kItself);
    });
  }
  return {};
}

// A run that ended by itself is over: only a newer wish starts another, or its policy.
void FakeEngine::checkRestart(FakeContainer& container, std::uint64_t runGeneration, const RestartPolicy& policy) {
  const auto& id = container.seen.sandboxId;
  ++container.restarts;
  const bool clean = !container.guestDied && container.workload.phase == WorkloadState::Phase::kExited && container.workload.exit.code == 0 &&
                     container.workload.exit.signal == 0;
  const bool tooOften = policy.maxRestarts != 0 && container.restarts > policy.maxRestarts;
  if (policy.mode == RestartMode::kNever || (policy.mode == RestartMode::kOnFailure && clean) || tooOften) {
    simulation_.violate("one run", fmt::format("{} ended by itself in generation {} and is started again in it, for the {}. time", id,
                                               runGeneration, container.restarts));
  }
}

bool FakeEngine::isWanted(const FakeContainer& container, bool mayEnd) {
  const auto& id = container.seen.sandboxId;
  // After a restored database a person has the last word; who was adopted is wanted as before.
  if (ledger_.restored() && !ledger_.adoptedAndLeft(id)) return false;
  return ledger_.newestEnd(id) <= endsUsed_[id] && !container.gateTimedOut && !container.endBegun && !mayEnd;
}

void FakeEngine::workloadStopAsked(const SandboxId& id) {
  const auto found = containers_.find(id);
  if (found == containers_.end() || !found->second.seen.alive()) return;
  auto& container = found->second;
  if (container.workload.phase == WorkloadState::Phase::kRunning && isWanted(container, mayEnd(id))) {
    simulation_.violate("no needless end", fmt::format("{} runs, is wanted, and its workload is told to end", id));
  }
  endsUsed_[id] = ledger_.newestEnd(id);
  container.endBegun = true;
}

Status FakeEngine::doStop(const SandboxId& id, bool mayEnd, int askedOf) {
  const auto found = containers_.find(id);
  if (found == containers_.end()) return fail(ErrorCode::kNotFound, "no such container");
  auto& container = found->second;
  if (!container.seen.alive()) return {};
  if (container.seen.pid != askedOf) {
    // Asked of an earlier run by an agent that died since. The engine knows no runs, so nobody can fence that.
    ledger_.excuse(id, "guest_lost");
    end(container, kKilled, EndedBy::kAgent);
    return {};
  }
  const bool workloadOver = container.workload.phase == WorkloadState::Phase::kExited;
  if (!workloadOver && isWanted(container, mayEnd)) simulation_.violate("no needless end", fmt::format("{} runs, is wanted, and is stopped", id));
  if (!workloadOver) endsUsed_[id] = ledger_.newestEnd(id);
  end(container, kKilled, workloadOver ? EndedBy::kItself : EndedBy::kAgent);
  return {};
}

Status FakeEngine::doRemove(const SandboxId& id, const std::string& asked) {
  const auto found = containers_.find(id);
  if (found == containers_.end()) return {};
  // Asked for by an agent that died since, of a container that is no more: it is for that one.
  if (found->second.seen.nativeId != asked) return {};
  if (!ledger_.deletionWanted(id) && ledger_.newestRoot(id) <= found->second.seen.generation) {
    simulation_.violate("authority", fmt::format("the container of {} is removed, which nobody asked for", id));
  }
  if (found->second.seen.alive()) end(found->second, kKilled, EndedBy::kAgent);
  containers_.erase(id);
  return {};
}

void FakeEngine::end(FakeContainer& container, int code, EndedBy by) {
  container.seen.phase = ContainerPhase::kExited;
  container.seen.exitCode = code;
  container.seen.pid = 0;
  container.seen.finishedAt = SystemClock().wallNow();
  container.endedBy = by;
  // The agent may have begun to stop it, and have written down that it did.
  lookAtReach(container);
  if (by == EndedBy::kItself) ledger_.excuse(container.seen.sandboxId, "guest_lost");
  changed(container.seen.sandboxId);
}

void FakeEngine::endAll() {
  for (auto& [id, container] : containers_) {
    if (container.seen.alive()) end(container, kKilled, EndedBy::kEngine);
  }
}

Result<std::string> FakeEngine::instance() const {
  if (!up_ && outage_ != Outage::kHangs) return noAnswer();
  return fmt::format("engine-{}", life_);
}

void FakeEngine::recordTorn(const SandboxId& id) {
  if (const auto found = containers_.find(id); found != containers_.end()) found->second.stopAsked = true;
  // In which life of the engine its run was started is forgotten, too.
  ledger_.excuse(id, "guest_lost");
}

void FakeEngine::goDown(Outage how) {
  if (!up_ || stopping_) return;
  outage_ = how;
  simulation_.trace("{} engine goes down, {}", agent_.name(), static_cast<int>(how));
  if (how != Outage::kStops) return down();
  // Its containers are gone a moment before it is.
  endAll();
  stopping_ = true;
  simulation_.after(simulation_.random.between(Millis(1), Millis(1'000)), [this, life = life_] {
    if (life == life_ && stopping_) down();
  });
}

void FakeEngine::down() {
  up_ = false;
  stopping_ = false;
  if (outage_ == Outage::kHangs) return;
  for (const auto& weak : watchers_) {
    if (const auto watcher = weak.lock()) watcher->events.close();
  }
  watchers_.clear();
}

void FakeEngine::comeUp() {
  if (stopping_) down();
  if (up_) return;
  simulation_.trace("{} engine up", agent_.name());
  if (outage_ != Outage::kHangs) ++life_;
  if (outage_ == Outage::kKilled) endAll();
  up_ = true;
  for (auto& request : std::exchange(stuck_, {})) {
    simulation_.after(Millis(1) + Millis(simulation_.random.below(20)), [request = std::move(request)] { (*request)(); });
  }
  for (const auto& [id, container] : containers_) changed(id);
}

void FakeEngine::reboot() {
  stopping_ = false;
  stuck_.clear();
  up_ = true;
  ++life_;
  endAll();
}

void FakeEngine::loseOne() {
  if (containers_.empty()) return;
  auto chosen = containers_.begin();
  std::advance(chosen, static_cast<std::ptrdiff_t>(simulation_.random.below(containers_.size())));
  const auto id = chosen->first;
  simulation_.trace("{} container of {} is removed by somebody", agent_.name(), id);
  if (chosen->second.seen.alive()) end(chosen->second, kKilled, EndedBy::kItself);
  ledger_.excuse(id, "container_lost");
  containers_.erase(chosen);
  changed(id);
}

void FakeEngine::killOne() {
  std::vector<FakeContainer*> running;
  for (auto& [id, container] : containers_) {
    if (container.seen.alive()) running.push_back(&container);
  }
  if (running.empty()) return;
  auto& chosen = *running[simulation_.random.below(running.size())];
  simulation_.trace("{} guest of {} dies", agent_.name(), chosen.seen.sandboxId);
  chosen.guestDied = true;
  end(chosen, kKilled, EndedBy::kItself);
}

void FakeEngine::openGate(const SandboxId& id, int pid, bool workload) {
  const auto found = containers_.find(id);
  if (found == containers_.end() || found->second.seen.pid != pid || found->second.gateOpen) return;
  auto& container = found->second;
  container.gateOpen = true;
  if (workload) {
    container.workload.phase = WorkloadState::Phase::kRunning;
    container.workload.pid = 2;
    if (simulation_.mishap(kWorkloadEnds)) {
      const int code = simulation_.random.chance(500) ? 0 : 3;
      simulation_.after(simulation_.random.between(Millis(1), Millis(20'000)), [this, id, pid, code] { endWorkload(id, pid, {code, 0, ""}); });
    }
  }
  changed(id);
}

void FakeEngine::endWorkload(const SandboxId& id, int pid, ProcessExit exit) {
  const auto found = containers_.find(id);
  if (found == containers_.end() || found->second.seen.pid != pid) return;
  auto& workload = found->second.workload;
  if (workload.phase != WorkloadState::Phase::kRunning) return;
  simulation_.trace("{} workload of {} ends with {} {}", agent_.name(), id, exit.code, exit.signal);
  workload.phase = WorkloadState::Phase::kExited;
  workload.pid = 0;
  workload.exit = std::move(exit);
  ledger_.excuse(id, "workload_exited");
  changed(id);
}

void FakeEngine::changed(const SandboxId& id) {
  for (auto* guest : guests_) {
    if (guest->id() == id) guest->lookSoon();
  }
  if (!up_) return;
  std::erase_if(watchers_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : watchers_) {
    const int times = simulation_.mishap(kDoubleEvent) ? 2 : 1;
    for (int i = 0; i < times; ++i) {
      simulation_.after(simulation_.random.between(Millis(1), Millis(100)), [weak, id] {
        if (const auto watcher = weak.lock()) (void)watcher->events.tryPush(id);
      });
    }
  }
}

std::unique_ptr<GuestChannel> FakeEngine::openGuestChannel(const SandboxId& id) { return std::make_unique<FakeGuest>(*this, simulation_, agent_, id); }

}  // namespace gs::sim

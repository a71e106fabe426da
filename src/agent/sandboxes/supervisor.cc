#include "agent/sandboxes/supervisor.h"

#include "base/crash_point.h"
#include "base/log.h"

namespace gs {
namespace {

// How often an exec looks whether a sandbox that ran before a restart of the agent has been found again.
constexpr Millis kRecoveryLook{20};
constexpr Millis kStrangersEvery{60'000};
constexpr Millis kArrivalLook{5};
constexpr std::size_t kMostFinished = 4'096;

// Says that a sandbox is being taken on, however that ends.
class Arrival {
 public:
  Arrival(std::set<SandboxId>& all, SandboxId id) : all_(all), id_(std::move(id)) { all_.insert(id_); }
  ~Arrival() { all_.erase(id_); }
  Arrival(const Arrival&) = delete;
  Arrival& operator=(const Arrival&) = delete;

 private:
  std::set<SandboxId>& all_;
  SandboxId id_;
};

}  // namespace

Supervisor::Supervisor(SandboxParts parts, ObservationSink sink)
    : parts_(std::move(parts)), sink_(std::move(sink)), fence_(parts_.fence), tasks_(parts_.executor) {}

Supervisor::~Supervisor() = default;

Task<Status> Supervisor::recover() {
  GS_CO_TRY(auto records, co_await parts_.journal.load());
  logInfo("sandboxes_recovered", {{"count", records.size()}});
  std::vector<Journal::Release> wished;
  for (const auto& record : records) {
    if (const auto generation = destructionOf(record.assignment)) wished.emplace_back(record.assignment.sandboxId, generation);
  }
  GS_CO_TRY(answers_, co_await parts_.journal.loadAnswers(std::move(wished)));
  for (auto& record : records) {
    const auto answer = answerTo(destructionOf(record.assignment), answersFor(record.assignment.sandboxId));
    addActor(std::move(record), answer);
  }
  tasks_.spawn("runtime watch", watchRuntime());
  tasks_.spawn("strangers", watchStrangers());
  co_return Status();
}

Task<void> Supervisor::stop() {
  co_await tasks_.cancelAndJoin();
  for (auto& [id, actor] : actors_) co_await actor->stop();
  actors_.clear();
}

void Supervisor::addActor(SandboxRecord record, Destruction destruction) {
  const SandboxId id = record.assignment.sandboxId;
  auto actor = std::make_unique<SandboxActor>(parts_, std::move(record), sink_,
                                              [this, id] { tasks_.spawn("reap " + id.text(), reap(id)); });
  actor->settle(destruction);
  actor->start();
  actors_[id] = std::move(actor);
}

// From a task of its own, because an actor cannot join the task that it is running in.
Task<void> Supervisor::reap(SandboxId id) {
  const auto found = actors_.find(id);
  if (found == actors_.end()) co_return;
  const auto actor = std::move(found->second);
  actors_.erase(found);
  fence_.gone(takenSince(id), parts_.clock.steadyNow());
  takenAt_.erase(id);
  answers_.erase(id);
  if (finished_.size() >= kMostFinished) finished_.erase(finished_.begin());
  finished_[id] = actor->record().assignment.generation;
  co_await actor->stop();
}

Task<Result<Destruction>> Supervisor::fence(Assignment assignment, const SandboxActor* actor) {
  const auto destruction = destructionOf(assignment);
  const auto answers = answersFor(assignment.sandboxId);
  bool held = actor != nullptr && actor->destruction() == Destruction::kHeld;
  if (destroysAnew(assignment, actor == nullptr ? nullptr : &actor->record(), answers)) {
    // One that was let go, and whose record did not get to disk or was lost since, is not judged again: told to be held, it
    // would be let go by the next restart.
    if (!held && answers.released >= destruction) co_return Destruction::kReleased;
    const bool uncounted = actor == nullptr && !strangers_.contains(assignment.sandboxId);
    const std::size_t present = actors_.size() + strangers().size() + (uncounted ? 1 : 0);
    held = fence_.judge(takenSince(assignment.sandboxId), present, parts_.clock.steadyNow()) == DeletionFence::Verdict::kHeld || held;
  } else if (answerTo(destruction, answers) == Destruction::kRefused) {
    co_return Destruction::kRefused;
  }
  if (held) {
    logWarn("destruction_held", {{"sandbox", assignment.sandboxId.text()}, {"generation", destruction}});
    co_return Destruction::kHeld;
  }
  if (destruction > answers.released) {
    GS_CO_CHECK(co_await parts_.journal.release({{assignment.sandboxId, destruction}}));
    answers_[assignment.sandboxId].released = destruction;
  }
  co_return Destruction::kReleased;
}

std::vector<HeldDestruction> Supervisor::heldDestructions() const {
  std::vector<HeldDestruction> out;
  for (const auto& [id, actor] : actors_) {
    const auto& assignment = actor->record().assignment;
    if (actor->destruction() == Destruction::kHeld) out.push_back({id, destructionOf(assignment), assignment.spec.name});
  }
  return out;
}

Result<std::vector<HeldDestruction>> Supervisor::findHeld(const std::string& fence) const {
  auto held = heldDestructions();
  if (!held.empty() && fenceId(held) == fence) return held;
  return fail(makeError(ErrorCode::kFailedPrecondition,
                        held.empty() ? "no deletions are held on this host" : "other deletions are held by now than were looked at")
                  .withReason("fence_changed")
                  .withFix("look at what is held now, and answer that"));
}

void Supervisor::settle(const std::vector<HeldDestruction>& answered, Destruction as) {
  for (const auto& each : answered) {
    auto& answers = answers_[each.sandboxId];
    (as == Destruction::kReleased ? answers.released : answers.refused) = each.generation;
    const auto found = actors_.find(each.sandboxId);
    // A newer wish that came meanwhile was held for itself, and was not answered.
    if (found != actors_.end() && destructionOf(found->second->record().assignment) == each.generation) found->second->settle(as);
  }
}

Task<Result<std::uint32_t>> Supervisor::confirmDestructions(std::string fence) {
  static constexpr Answer kConfirm{Destruction::kReleased, &Journal::release, "confirm_deletions", "deletions_confirmed"};
  co_return co_await answer(std::move(fence), kConfirm, confirmed_);
}

Task<Result<std::uint32_t>> Supervisor::refuseDestructions(std::string fence) {
  static constexpr Answer kReject{Destruction::kRefused, &Journal::refuse, "reject_deletions", "deletions_rejected"};
  co_return co_await answer(std::move(fence), kReject, refused_);
}

Task<Result<std::uint32_t>> Supervisor::answer(std::string fence, const Answer& answer, Answered& last) {
  const auto found = findHeld(fence);
  // A repeat; but for a set that is held once more, which an old message can bring about.
  if (!found && !fence.empty() && fence == last.fence) co_return last.count;
  GS_CO_TRY(const auto held, found);
  std::vector<Journal::Release> answers;
  for (const auto& each : held) answers.emplace_back(each.sandboxId, each.generation);
  crashPoint(fmt::format("{}.before", answer.point));
  GS_CO_CHECK(co_await (parts_.journal.*answer.write)(std::move(answers)));
  crashPoint(fmt::format("{}.after", answer.point));
  last = {std::move(fence), static_cast<std::uint32_t>(held.size())};
  settle(held, answer.as);
  logInfo(answer.event, {{"fence", last.fence}, {"count", last.count}});
  co_return last.count;
}

Task<AssignmentAck> Supervisor::assign(Assignment assignment) {
  AssignmentAck ack{assignment.sandboxId, assignment.generation, std::nullopt};
  // Over another link, perhaps.
  while (arriving_.contains(assignment.sandboxId)) co_await sleepFor(kArrivalLook);
  if (const auto gone = finished_.find(assignment.sandboxId); gone != finished_.end() && assignment.generation < gone->second) {
    ack.refusal = makeError(ErrorCode::kAborted, fmt::format("the sandbox was deleted in generation {}", gone->second)).withReason("stale_generation");
    co_return ack;
  }
  SandboxActor* actor = findActor(assignment.sandboxId);
  const auto deletion = actor != nullptr && actor->destruction() == Destruction::kRefused ? Deletion::kWasRefused : Deletion::kStands;
  const auto verdict = checkAssignment(assignment, actor == nullptr ? nullptr : &actor->record(), deletion);
  if (!verdict) {
    ack.refusal = verdict.error();
    co_return ack;
  }
  if (*verdict == Acceptance::kSame) {
    if (const auto* observation = actor->unacknowledged()) sink_(*observation);
    // The first time it may not have got to disk; that it is known is said only when it did.
    if (const auto saved = co_await actor->ensureJournalled(); !saved) ack.refusal = saved.error();
    co_return ack;
  }
  std::optional<Arrival> arrival;
  if (actor == nullptr) arrival.emplace(arriving_, assignment.sandboxId);
  const auto destruction = co_await fence(assignment, actor);
  if (!destruction) {
    ack.refusal = destruction.error();
    co_return ack;
  }
  actor = findActor(assignment.sandboxId);  // it may have gone meanwhile
  crashPoint("assign.before");
  if (actor != nullptr) {
    if (const auto saved = co_await actor->assign(std::move(assignment), *destruction); !saved) ack.refusal = saved.error();
    crashPoint("assign.after");
    co_return ack;
  }
  if (!arrival) arrival.emplace(arriving_, assignment.sandboxId);
  SandboxRecord record = firstRecord(std::move(assignment));
  if (const auto saved = co_await parts_.journal.save(record); !saved) {
    ack.refusal = saved.error();
    co_return ack;
  }
  crashPoint("assign.after");
  // One that is here without a record is older than the record will be, and before the first look nobody knows.
  if (lookedForStrangers_ && !strangers_.contains(record.assignment.sandboxId)) takenAt_.emplace(record.assignment.sandboxId, parts_.clock.steadyNow());
  addActor(std::move(record), *destruction);
  co_return ack;
}

void Supervisor::acknowledge(const SandboxId& id, std::uint64_t sequence) {
  const auto found = actors_.find(id);
  if (found != actors_.end()) found->second->acknowledge(sequence);
}

std::vector<AssignmentVersion> Supervisor::versions() const {
  std::vector<AssignmentVersion> out;
  for (const auto& [id, actor] : actors_) out.push_back({id, actor->record().assignment.generation, actor->saved().sequence});
  return out;
}

std::optional<HeldSandbox> Supervisor::findHeld(const SandboxId& id) const {
  const auto found = actors_.find(id);
  if (found == actors_.end()) return std::nullopt;
  HeldSandbox held{found->second->record().assignment, std::nullopt};
  if (found->second->saved().sequence != 0) held.observation = found->second->saved();
  return held;
}

std::vector<Observation> Supervisor::unacknowledged() const {
  std::vector<Observation> out;
  for (const auto& [id, actor] : actors_) {
    if (const auto* observation = actor->unacknowledged()) out.push_back(*observation);
  }
  return out;
}

std::size_t Supervisor::runningCount() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(actors_, [](const auto& entry) { return entry.second->running(); }));
}

Task<Result<SandboxActor*>> Supervisor::recovered(SandboxId id, Deadline deadline) {
  while (true) {
    const auto found = actors_.find(id);
    // One that is here and that the journal has lost is assigned again as soon as the link is up; and before the first
    // look nobody knows what is here.
    if (found == actors_.end() && lookedForStrangers_ && !strangers_.contains(id)) {
      co_return fail(ErrorCode::kNotFound, fmt::format("the sandbox {} is not on this host", id.text()));
    }
    if (found != actors_.end() && !found->second->recovering()) co_return found->second.get();
    if (deadline.expired()) {
      co_return fail(ErrorCode::kUnavailable, "this host's agent was restarted and has not found the sandbox again yet");
    }
    // Looked up anew each time: an actor may go while nobody waits for it.
    co_await sleepFor(kRecoveryLook);
  }
}

Task<Result<std::unique_ptr<GuestExec>>> Supervisor::startExec(SandboxId id, ProcessSpec process, Deadline deadline) {
  GS_CO_TRY(SandboxActor* const actor, co_await recovered(std::move(id), deadline));
  co_return co_await actor->startExec(std::move(process), deadline);
}

Task<Result<std::shared_ptr<GuestConnection>>> Supervisor::startFiles(SandboxId id, Deadline deadline) {
  GS_CO_TRY(SandboxActor* const actor, co_await recovered(std::move(id), deadline));
  co_return co_await actor->startFiles(deadline);
}

Task<Result<std::unique_ptr<GuestExec>>> Supervisor::attachSession(SandboxId id, AttachSpec spec, Deadline deadline) {
  GS_CO_TRY(SandboxActor* const actor, co_await recovered(std::move(id), deadline));
  co_return co_await actor->attachSession(std::move(spec), deadline);
}

Task<Result<std::vector<SessionSummary>>> Supervisor::listSessions(SandboxId id, Deadline deadline) {
  GS_CO_TRY(SandboxActor* const actor, co_await recovered(std::move(id), deadline));
  co_return co_await actor->listSessions(deadline);
}

Task<Status> Supervisor::endSession(SandboxId id, std::string session, SessionClaim claim, Deadline deadline) {
  GS_CO_TRY(SandboxActor* const actor, co_await recovered(std::move(id), deadline));
  co_return co_await actor->endSession(std::move(session), std::move(claim), deadline);
}

Task<void> Supervisor::watchRuntime() {
  // Never long: an engine that comes and goes again while nobody listens is only noticed by luck.
  Backoff backoff(Millis(100), Millis(1'000));
  while (true) {
    const auto watch = co_await parts_.runtime.watch(parts_.hostId, Deadline::after(Millis(10'000)));
    if (watch) {
      // Whatever happened while nobody listened is found by looking.
      for (auto& [id, actor] : actors_) actor->hint();
      while (true) {
        const auto changed = co_await (*watch)->next();
        if (!changed) break;
        backoff.reset();
        const auto found = actors_.find(*changed);
        if (found != actors_.end()) found->second->hint();
      }
      runtimeLost();
    }
    co_await sleepFor(backoff.next() + Millis(50));
  }
}

void Supervisor::runtimeLost() {
  for (auto& [id, actor] : actors_) actor->runtimeLost();
}

void Supervisor::linkChanged() {
  for (auto& [id, actor] : actors_) {
    if (actor->record().assignment.spec.stopAfterDisconnect != Seconds(0)) actor->linkChanged();
  }
}

bool Supervisor::mindsTheLink() const {
  return std::ranges::any_of(
      actors_, [](const auto& entry) { return entry.second->record().assignment.spec.stopAfterDisconnect != Seconds(0); });
}

Task<void> Supervisor::watchStrangers() {
  while (true) {
    co_await findStrangers();
    co_await sleepFor(kStrangersEvery);
  }
}

Task<void> Supervisor::findStrangers() {
  const auto containers = co_await parts_.runtime.list(parts_.hostId, Deadline::after(Millis(30'000)));
  // No answer says nothing about what is there: what was known stays.
  if (!containers) co_return;
  std::set<SandboxId> found;
  for (const auto& container : *containers) {
    if (actors_.contains(container.sandboxId)) continue;
    found.insert(container.sandboxId);
    if (strangers_.contains(container.sandboxId)) continue;
    logWarn("container_without_record", {{"sandbox", container.sandboxId.text()},
                                         {"container", container.nativeId},
                                         {"generation", container.generation}});
  }
  strangers_ = std::move(found);
  lookedForStrangers_ = true;
}

std::vector<SandboxId> Supervisor::strangers() const {
  std::vector<SandboxId> out;
  for (const auto& id : strangers_) {
    if (!actors_.contains(id)) out.push_back(id);
  }
  return out;
}

}  // namespace gs

#include "agent/sandboxes/supervisor.h"

#include "base/crash_point.h"
#include "base/log.h"

namespace gs {
namespace {

// How often an exec looks whether a sandbox that ran before a restart of the agent has been found again.
constexpr Millis kRecoveryLook{20};
constexpr Millis kStrangersEvery{60'000};

}  // namespace

Supervisor::Supervisor(SandboxParts parts, ObservationSink sink)
    : parts_(std::move(parts)), sink_(std::move(sink)), tasks_(parts_.executor) {}

Supervisor::~Supervisor() = default;

Task<Status> Supervisor::recover() {
  GS_CO_TRY(auto records, co_await parts_.journal.load());
  logInfo("sandboxes_recovered", {{"count", records.size()}});
  for (auto& record : records) addActor(std::move(record));
  tasks_.spawn("runtime watch", watchRuntime());
  tasks_.spawn("strangers", watchStrangers());
  co_return Status();
}

Task<void> Supervisor::stop() {
  co_await tasks_.cancelAndJoin();
  for (auto& [id, actor] : actors_) co_await actor->stop();
  actors_.clear();
}

void Supervisor::addActor(SandboxRecord record) {
  const SandboxId id = record.assignment.sandboxId;
  auto actor = std::make_unique<SandboxActor>(parts_, std::move(record), sink_,
                                              [this, id] { tasks_.spawn("reap " + id.text(), reap(id)); });
  actor->start();
  actors_[id] = std::move(actor);
}

// From a task of its own, because an actor cannot join the task that it is running in.
Task<void> Supervisor::reap(SandboxId id) {
  const auto found = actors_.find(id);
  if (found == actors_.end()) co_return;
  const auto actor = std::move(found->second);
  actors_.erase(found);
  co_await actor->stop();
}

Task<AssignmentAck> Supervisor::assign(Assignment assignment) {
  AssignmentAck ack{assignment.sandboxId, assignment.generation, std::nullopt};
  const auto found = actors_.find(assignment.sandboxId);
  SandboxActor* const actor = found == actors_.end() ? nullptr : found->second.get();
  const auto verdict = checkAssignment(assignment, actor == nullptr ? nullptr : &actor->record());
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
  crashPoint("assign.before");
  if (actor != nullptr) {
    if (const auto saved = co_await actor->assign(std::move(assignment)); !saved) ack.refusal = saved.error();
    crashPoint("assign.after");
    co_return ack;
  }
  SandboxRecord record = firstRecord(std::move(assignment));
  if (const auto saved = co_await parts_.journal.save(record); !saved) {
    ack.refusal = saved.error();
    co_return ack;
  }
  crashPoint("assign.after");
  // A repeat may have come while this one was being written.
  if (!actors_.contains(record.assignment.sandboxId)) addActor(std::move(record));
  co_return ack;
}

void Supervisor::acknowledge(const SandboxId& id, std::uint64_t sequence) {
  const auto found = actors_.find(id);
  if (found != actors_.end()) found->second->acknowledge(sequence);
}

std::vector<AssignmentVersion> Supervisor::versions() const {
  std::vector<AssignmentVersion> out;
  for (const auto& [id, actor] : actors_) out.push_back({id, actor->record().assignment.generation});
  return out;
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

Task<Result<std::unique_ptr<GuestExec>>> Supervisor::startExec(SandboxId id, ProcessSpec process, Deadline deadline) {
  while (true) {
    const auto found = actors_.find(id);
    // One that is here and that the journal has lost is assigned again as soon as the link is up; and before the first
    // look nobody knows what is here.
    if (found == actors_.end() && lookedForStrangers_ && !strangers_.contains(id)) {
      co_return fail(ErrorCode::kNotFound, fmt::format("the sandbox {} is not on this host", id.text()));
    }
    if (found != actors_.end() && !found->second->recovering()) {
      co_return co_await found->second->startExec(std::move(process), deadline);
    }
    if (deadline.expired()) {
      co_return fail(ErrorCode::kUnavailable, "this host's agent was restarted and has not found the sandbox again yet");
    }
    // Looked up anew each time: an actor may go while nobody waits for it.
    co_await sleepFor(kRecoveryLook);
  }
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

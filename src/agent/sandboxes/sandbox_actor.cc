#include "agent/sandboxes/sandbox_actor.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <filesystem>

#include "agent/core/deletion_fence.h"
#include "base/crash_point.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kRuntimeCall{60'000};
constexpr Millis kInspectCall{10'000};
constexpr Millis kPrepareTime{60 * 60 * 1000};
constexpr Millis kArchiveTime{6 * 60 * 60 * 1000};
constexpr Millis kGateTime{15'000};
constexpr Millis kLookAgain{60'000};
constexpr Millis kSecondLook{1'500};
// How long the guest may take to end by itself once its workload is gone.
constexpr Millis kLastWords{2'000};
constexpr Millis kGuestGrace{2'000};

std::vector<std::string> joinEnv(const std::vector<std::string>& image,
                                 const std::vector<std::pair<std::string, std::string>>& spec) {
  std::vector<std::string> out = image;
  for (const auto& [key, value] : spec) out.push_back(key + "=" + value);
  return out;
}

ExitInfo toExitInfo(const ProcessExit& exit, WallTime at) { return {exit.code, exit.signal, false, at}; }

}  // namespace

SandboxActor::SandboxActor(const SandboxParts& parts, SandboxRecord record, ObservationSink sink,
                           std::function<void()> onFinished)
    : parts_(parts),
      record_(std::move(record)),
      sink_(std::move(sink)),
      onFinished_(std::move(onFinished)),
      changed_(parts.executor),
      backoff_(Millis(200), Millis(10'000)),
      tasks_(parts.executor),
      guestTasks_(parts.executor) {
  facts_.bootId = parts_.bootId;
  saved_ = record_.observation;
  journalled_ = record_.assignment.generation;
  // An agent before this one may have begun to archive it, whatever is wanted now.
  layerTouched_ = record_.observation.sequence != 0 || record_.intent == Intent::kTakeLayer;
}

SandboxActor::~SandboxActor() = default;

void SandboxActor::start() { tasks_.spawn("sandbox " + record_.assignment.sandboxId.text(), run()); }

Task<void> SandboxActor::stop() {
  co_await tasks_.cancelAndJoin();
  co_await guestTasks_.cancelAndJoin();
  if (guest_) co_await guest_->close();
}

void SandboxActor::wake() {
  ++changes_;
  changed_.notifyAll();
}

void SandboxActor::settle(Destruction destruction) {
  if (std::exchange(destruction_, destruction) == destruction) return;
  // What it was like before it was held is long ago.
  if (destruction != Destruction::kHeld) facts_.container = Seen::kUnknown;
  wake();
}

void SandboxActor::hint() {
  hinted_ = true;
  wake();
}

void SandboxActor::runtimeLost() {
  facts_.runtimeWasLost = true;
  hint();
}

Task<Status> SandboxActor::assign(Assignment assignment, Destruction destruction) {
  // Together: an answer is to one wish.
  record_.assignment = std::move(assignment);
  settle(destruction);
  record_.assignment.known.reset();  // for one that has no record
  restartAt_.reset();
  const auto saved = co_await save();
  wake();
  co_return saved;
}

Task<Status> SandboxActor::ensureJournalled() {
  if (journalled_ >= record_.assignment.generation) co_return Status();
  co_return co_await save();
}

Task<Status> SandboxActor::save() {
  const auto generation = record_.assignment.generation;
  auto observation = record_.observation;
  if (const auto saved = co_await parts_.journal.save(record_); !saved) {
    // The journal's trouble is not the sandbox's: it fails no generation, and nothing is done before it is over.
    co_return fail(ErrorCode::kUnavailable, "the journal cannot be written: " + saved.error().message);
  }
  saved_ = std::move(observation);
  journalled_ = std::max(journalled_, generation);
  co_return Status();
}

void SandboxActor::acknowledge(std::uint64_t sequence) {
  if (sequence > record_.observation.sequence) heardUpTo_ = std::max(heardUpTo_, sequence);
  // Not saved at once: an acknowledgement lost in a crash means that the observation is sent again, which is harmless.
  record_.ackedSequence = std::max(record_.ackedSequence, std::min(sequence, record_.observation.sequence));
  wake();
}

Task<void> SandboxActor::waitForChange(Deadline deadline) {
  const auto seen = changes_;
  while (changes_ == seen && !deadline.expired()) co_await changed_.waitUntil(deadline);
}

Task<void> SandboxActor::waitForChangeOrRestart(std::optional<Millis> restartWithin) {
  // Drawn once for each end; looking at the container meanwhile does not begin the wait anew.
  if (restartWithin && !restartAt_) restartAt_ = Deadline::after(Backoff(*restartWithin, *restartWithin).next());
  const auto lookAgain = Deadline::after(kLookAgain);
  auto deadline = restartWithin ? lookAgain.earlier(*restartAt_) : lookAgain;
  const auto toDisconnectStop = untilDisconnectStop();
  if (toDisconnectStop && !facts_.disconnectedTooLong) deadline = deadline.earlier(Deadline::after(*toDisconnectStop));
  co_await waitForChange(deadline);
  if (lookAgain.expired()) facts_.container = Seen::kUnknown;
}

std::optional<Millis> SandboxActor::untilDisconnectStop() const {
  const Millis after = record_.assignment.spec.stopAfterDisconnect;
  if (after == Millis(0) || !parts_.linkDownFor) return std::nullopt;
  const auto down = parts_.linkDownFor();
  return down ? std::optional(after - *down) : std::nullopt;
}

Task<void> SandboxActor::waitForNewGeneration(std::uint64_t generation) {
  while (record_.assignment.generation == generation) co_await changed_.waitUntil(Deadline::never());
}

Task<void> SandboxActor::run() {
  while (true) {
    const auto generation = record_.assignment.generation;
    const auto seen = changes_;
    countOn();
    facts_.restartDue = restartAt_ && restartAt_->expired();
    // A fresh root file system may be made of another blueprint.
    if (image_ && image_->manifest != record_.assignment.spec.manifest) {
      image_.reset();
      facts_.blueprintReady = false;
    }
    if (layerGeneration_ != record_.assignment.generation) {
      layerGeneration_ = record_.assignment.generation;
      facts_.layerTaken = facts_.layerSent = false;
    }
    const auto toDisconnectStop = untilDisconnectStop();
    facts_.disconnectedTooLong = toDisconnectStop && *toDisconnectStop <= Millis(0);
    const Decision decision = destruction_ == Destruction::kHeld      ? decideHeld(record_)
                              : destruction_ == Destruction::kRefused ? decideRefused(record_, facts_)
                                                                      : decide(record_, facts_);
    if (decision.observe) stage(*decision.observe);
    if (decision.step == Step::kFinish) break;
    Status done;
    if (decision.step == Step::kWait) {
      done = co_await commit();
      if (done) {
        backoff_.reset();
        if (hinted_) {
          hinted_ = false;
          facts_.container = Seen::kUnknown;
        } else if (changes_ == seen) {
          co_await waitForChangeOrRestart(decision.restartWithin);
        }
        continue;
      }
    } else {
      done = co_await perform(decision.step);
    }
    if (!done) co_await handleFailure(decision.step, generation, std::move(done).error());
  }
  co_await closeGuestChannel();
  removeRunDir();
  if (parts_.output != nullptr) {
    if (const auto gone = co_await parts_.output->discardOutput(record_.assignment.sandboxId); !gone) {
      logWarn("output_not_discarded", {{"sandbox", record_.assignment.sandboxId.text()}, {"error", gone.error().describe()}});
    }
  }
  if (const auto forgotten = co_await parts_.journal.forget(record_.assignment.sandboxId); !forgotten) {
    logWarn("journal_forget_failed", {{"sandbox", record_.assignment.sandboxId.text()},
                                      {"error", forgotten.error().describe()}});
  }
  onFinished_();
}

// The record before this one was lost, and with it how far the control plane has heard.
void SandboxActor::countOn() {
  const auto heard = std::exchange(heardUpTo_, 0);
  if (heard <= record_.observation.sequence || record_.observation.sequence == 0) return;
  record_.observation.sequence = heard + 1;
  staged_ = record_.observation;
}

void SandboxActor::stage(const ObservationDraft& draft) {
  auto next = nextObservation(record_, draft, parts_.clock.wallNow(), facts_.startedAt);
  if (!next) return;
  record_.observation = *next;
  staged_ = std::move(next);
}

Task<Status> SandboxActor::commit() {
  if (!staged_) co_return Status();
  GS_CO_CHECK(co_await save());
  // Another commit cannot have run meanwhile: only this actor's one task commits.
  sink_(*staged_);
  staged_.reset();
  co_return Status();
}

Task<Status> SandboxActor::commitIntent(Intent intent, std::string_view point) {
  record_.intent = intent;
  GS_CO_CHECK(co_await save());
  if (staged_) sink_(*staged_);
  staged_.reset();
  crashPoint(fmt::format("{}.before", point));
  co_return Status();
}

Task<Status> SandboxActor::perform(Step step) {
  switch (step) {
    case Step::kInspect:
      GS_CO_CHECK(co_await commit());
      co_return co_await inspect();
    case Step::kPrepare:
      GS_CO_CHECK(co_await commit());
      co_return co_await prepare();
    case Step::kCreate: co_return co_await create();
    case Step::kStart: co_return co_await startContainer();
    case Step::kOpenGate:
      GS_CO_CHECK(co_await commit());
      co_return co_await openGate();
    case Step::kStop: co_return co_await stopContainer();
    case Step::kRemove: co_return co_await removeContainer();
    case Step::kTakeLayer: co_return co_await takeLayer();
    case Step::kSendLayer:
      GS_CO_CHECK(co_await commit());
      co_return co_await sendLayer();
    case Step::kFinish:
    case Step::kWait: break;
  }
  co_return Status();
}

Task<Result<SandboxActor::Sight>> SandboxActor::look() {
  GS_CO_TRY(auto before, parts_.runtime.instance());
  GS_CO_TRY(auto container, co_await parts_.runtime.inspect(record_.assignment.sandboxId, Deadline::after(kInspectCall)));
  GS_CO_TRY(const auto after, parts_.runtime.instance());
  if (after != before) co_return fail(ErrorCode::kUnavailable, "the engine was restarted while it was asked");
  co_return Sight{std::move(before), std::move(container)};
}

Task<Status> SandboxActor::inspect() {
  auto sight = co_await look();
  // An engine that is going down ends its containers first. Before an end is held against the sandbox, the engine must
  // have answered once more a moment later.
  if (sight && sight->container && sight->container->phase == ContainerPhase::kExited && facts_.container != Seen::kExited &&
      endNeedsSecondLook(record_, facts_)) {
    co_await sleepFor(kSecondLook);
    sight = co_await look();
  }
  if (!sight) {
    facts_.runtimeWasLost = true;
    co_return std::unexpected(std::move(sight).error());
  }
  facts_.instance = sight->instance;
  if (!sight->container) {
    facts_.container = Seen::kAbsent;
    if (!facts_.missedAt) facts_.missedAt = parts_.clock.wallNow();
    if (record_.assignment.desired == DesiredState::kDeleted) {
      // The container may have been removed by an agent that died before it got to the rest. "Deleted" is told only when
      // nothing is left.
      GS_CO_CHECK(co_await discardLayer());
      co_await closeGuestChannel();
      removeRunDir();
    }
    co_return Status();
  }
  const RuntimeContainer& container = *sight->container;
  facts_.missedAt.reset();
  facts_.containerGeneration = container.generation;
  facts_.startedAt = container.startedAt;
  facts_.oomKilled = container.oomKilled;
  const bool startAnswered = std::exchange(startAnswered_, false);
  if (record_.intent == Intent::kStart) {
    if (facts_.startedAt != record_.startedBefore) {
      record_.intent = Intent::kNone;
    } else if (startAnswered && !container.alive()) {
      co_return fail(ErrorCode::kUnavailable, "the runtime said that the sandbox was started, and it was not");
    }
  }
  if (container.execDefaults) {
    record_.execUser = container.execDefaults->user;
    record_.execWorkingDir = container.execDefaults->workingDir;
  }
  switch (container.phase) {
    case ContainerPhase::kCreated: facts_.container = Seen::kCreated; break;
    case ContainerPhase::kRunning:
    case ContainerPhase::kPaused:
      facts_.container = Seen::kRunning;
      facts_.runtimeWasLost = false;
      facts_.exit.reset();
      // Seen alive in this life of the engine, however many it has outlived. On disk before anything else is made of it.
      if (record_.runInstance != facts_.instance) {
        record_.runInstance = facts_.instance;
        GS_CO_CHECK(co_await save());
      }
      GS_CO_CHECK(ensureGuestChannel());
      guest_->setExpectedPid(container.pid);
      break;
    case ContainerPhase::kExited: {
      const bool signalled = container.exitCode > 128 && container.exitCode <= 128 + 64;
      facts_.exit = ExitInfo{container.exitCode, signalled ? container.exitCode - 128 : 0, container.oomKilled,
                             container.finishedAt.value_or(parts_.clock.wallNow())};
      facts_.container = Seen::kExited;
      facts_.gateOpen = false;
      break;
    }
    case ContainerPhase::kRemoving:
      co_return fail(ErrorCode::kUnavailable, "the runtime is still removing the container");
  }
  co_return Status();
}

Task<Status> SandboxActor::prepare() {
  using namespace asio::experimental::awaitable_operators;
  // A newer assignment (a delete, above all) must not wait for a long download.
  auto winner = co_await (parts_.blueprints.ensureLocal(record_.assignment.spec.manifest, Deadline::after(kPrepareTime)) ||
                          waitForNewGeneration(record_.assignment.generation));
  if (winner.index() == 1) co_return Status();
  auto& handle = std::get<0>(winner);
  if (!handle) co_return std::unexpected(std::move(handle).error());
  image_ = std::move(*handle);
  facts_.blueprintReady = true;
  const auto& spec = record_.assignment.spec;
  record_.execUser = spec.user.empty() ? image_->image.user : spec.user;
  record_.execWorkingDir = spec.workingDir.empty() ? image_->image.workingDir : spec.workingDir;
  crashPoint("prepare.after");
  co_return Status();
}

Task<Status> SandboxActor::create() {
  if (parts_.checkRoom) GS_CO_CHECK(parts_.checkRoom());
  // What is not there has not run; what an unfinished start wrote down is of no container that exists.
  record_.runGeneration = 0;
  record_.startedBefore.reset();
  facts_.startedAt.reset();
  GS_CO_CHECK(co_await commitIntent(Intent::kCreate, "create"));
  // A newer assignment may have come while this was written, and wish another blueprint.
  if (image_->manifest != record_.assignment.spec.manifest) co_return Status();
  GS_CO_CHECK(ensureGuestChannel());
  const auto& id = record_.assignment.sandboxId;
  ContainerPlan plan;
  plan.sandboxId = id;
  plan.hostId = parts_.hostId;
  plan.generation = record_.assignment.generation;
  const auto madeFor = plan.generation;
  plan.spec = record_.assignment.spec;
  plan.image = *image_;
  plan.mounts = {parts_.guestBinary, parts_.paths.sandboxDir(id)};
  auto created = co_await parts_.runtime.create(std::move(plan), Deadline::after(kRuntimeCall));
  if (!created) {
    if (created.error().reason == "blueprint_missing") {
      facts_.blueprintReady = false;
      co_return Status();
    }
    if (created.error().code == ErrorCode::kAborted) facts_.container = Seen::kUnknown;
    co_return std::unexpected(std::move(created).error());
  }
  crashPoint("create.after");
  record_.intent = Intent::kNone;
  facts_.container = Seen::kCreated;
  facts_.containerGeneration = madeFor;
  co_return Status();
}

Task<Status> SandboxActor::startContainer() {
  // First: should the engine not be there, this start is still the one that was counted.
  noteStart(record_, facts_);
  // It is to run, and what is left of archiving would go stale.
  GS_CO_CHECK(co_await discardLayer());
  GS_CO_TRY(auto instance, parts_.runtime.instance());
  record_.runInstance = std::move(instance);
  GS_CO_CHECK(co_await commitIntent(Intent::kStart, "start"));
  restartAt_.reset();
  facts_.restartDue = false;
  // A fresh channel, so that nothing that an earlier run's guest said can be taken for this one's.
  co_await closeGuestChannel();
  GS_CO_CHECK(ensureGuestChannel());
  runEnd_ = std::make_shared<RunEnd>();
  facts_.gateOpen = false;
  facts_.workloadExit.reset();
  facts_.workloadStartError.clear();
  facts_.exit.reset();
  facts_.oomKilled = false;
  // What the runtime missed before this run is no excuse for its end; a start that was not answered is.
  facts_.runtimeWasLost = false;
  if (auto started = co_await parts_.runtime.start(record_.assignment.sandboxId, Deadline::after(kRuntimeCall)); !started) {
    facts_.runtimeWasLost = started.error().code == ErrorCode::kUnavailable || started.error().code == ErrorCode::kDeadlineExceeded;
    co_return started;
  }
  crashPoint("start.after");
  // The intent stays until the new run was seen: "started" may have been said of what was not.
  startAnswered_ = true;
  facts_.container = Seen::kUnknown;
  co_return Status();
}

Task<Status> SandboxActor::openGate() {
  const auto& spec = record_.assignment.spec;
  Status heard;
  if (!image_ && !guest_->state().gateOpen) {
    // After an agent restart the image is not known, and a guest whose gate is open needs none: it is heard first. The
    // gate may still be closed, when a crash came in between.
    heard = co_await guest_->waitConnected(Deadline::after(kGateTime));
    if (heard && !guest_->state().gateOpen) GS_CO_CHECK(co_await prepare());
  }
  GateSpec gate;
  gate.sandboxId = record_.assignment.sandboxId.text();
  gate.env = joinEnv(image_ ? image_->image.env : std::vector<std::string>(), spec.env);
  if (!spec.command.empty()) {
    gate.workload = ProcessSpec{spec.command, {}, record_.execWorkingDir, record_.execUser};
  }
  if (heard) {
    if (auto opened = co_await guest_->openGate(std::move(gate), Deadline::after(kGateTime)); !opened) {
      heard = std::unexpected(std::move(opened).error());
    }
  }
  if (!heard) {
    // The container may simply be gone; then its end is what is to be told.
    if (auto looked = co_await inspect(); !looked) {
      // The engine's silence, and not the guest's: no time that it takes is held against the sandbox.
      looked.error().code = ErrorCode::kUnavailable;
      co_return looked;
    }
    if (facts_.container != Seen::kRunning) co_return Status();
    co_return heard;
  }
  crashPoint("open_gate.after");
  facts_.gateOpen = true;
  co_return Status();
}

Task<Status> SandboxActor::stopContainer() {
  const auto causeBefore = record_.endCause;
  noteStop(record_, facts_);
  if (auto noted = co_await commitIntent(Intent::kStop, "stop"); !noted) {
    // Nothing was begun: should the reason for the stop go away meanwhile, there is nothing to be finished.
    record_.endCause = causeBefore;
    co_return noted;
  }
  runEnd_->wanted = true;
  const auto& id = record_.assignment.sandboxId;
  const Millis grace = record_.endCause != ExitCause::kUnspecified ? record_.assignment.stopGrace : Millis(0);
  const bool workloadRuns =
      guest_ && guest_->state().connected && guest_->state().workload.phase == WorkloadState::Phase::kRunning;
  if (workloadRuns && grace > Millis(0)) {
    // The workload gets the grace; the guest around it needs none of its own.
    if (co_await guest_->stopWorkload(grace)) {
      const auto exit = co_await guest_->waitWorkloadExit(Deadline::after(grace + kGuestGrace));
      if (exit) facts_.workloadExit = toExitInfo(*exit, parts_.clock.wallNow());
    }
  }
  // Its last words are with the guest, which goes with the container.
  if (parts_.output != nullptr && guest_ && guest_->state().workload.phase == WorkloadState::Phase::kExited) {
    co_await parts_.output->drained(id, *guest_, Deadline::after(kLastWords));
  }
  GS_CO_CHECK(co_await parts_.runtime.stop(id, grace > Millis(0) ? kGuestGrace : Millis(0),
                                           Deadline::after(kGuestGrace + kRuntimeCall)));
  crashPoint("stop.after");
  record_.intent = Intent::kNone;
  facts_.gateOpen = false;
  facts_.container = Seen::kUnknown;
  co_return Status();
}

Task<Status> SandboxActor::removeContainer() {
  GS_CO_CHECK(co_await discardLayer());
  GS_CO_CHECK(co_await commitIntent(Intent::kRemove, "remove"));
  runEnd_->wanted = true;
  const auto& id = record_.assignment.sandboxId;
  GS_CO_CHECK(co_await parts_.runtime.remove(id, Deadline::after(kRuntimeCall)));
  crashPoint("remove.after");
  co_await closeGuestChannel();
  removeRunDir();
  record_.intent = Intent::kNone;
  facts_.gateOpen = false;
  // That it is gone is said when it was seen to be gone, not because the runtime said "done".
  facts_.container = Seen::kUnknown;
  // What is made next has nothing of this one's past.
  facts_.startedAt.reset();
  facts_.exit.reset();
  facts_.workloadExit.reset();
  facts_.workloadStartError.clear();
  facts_.oomKilled = false;
  co_return Status();
}

Task<Status> SandboxActor::takeLayer() {
  using namespace asio::experimental::awaitable_operators;
  if (parts_.archiver == nullptr) co_return fail(ErrorCode::kUnimplemented, "this host cannot archive sandboxes");
  layerTouched_ = true;
  const auto generation = record_.assignment.generation;
  GS_CO_CHECK(co_await commitIntent(Intent::kTakeLayer, "take_layer"));
  auto winner = co_await (parts_.archiver->takeLayer(record_.assignment.sandboxId, generation, Deadline::after(kArchiveTime)) ||
                          waitForNewGeneration(generation));
  // The intent stays: something is left of it.
  if (winner.index() == 1) co_return Status();
  if (!std::get<0>(winner)) {
    facts_.container = Seen::kUnknown;
    co_return std::get<0>(winner);
  }
  crashPoint("take_layer.after");
  if (generation != record_.assignment.generation) co_return Status();
  record_.intent = Intent::kNone;
  facts_.layerTaken = true;
  co_return Status();
}

Task<Status> SandboxActor::sendLayer() {
  using namespace asio::experimental::awaitable_operators;
  const auto generation = record_.assignment.generation;
  crashPoint("send_layer.before");
  auto winner = co_await (parts_.archiver->sendLayer(record_.assignment.sandboxId, generation, Deadline::after(kArchiveTime)) ||
                          waitForNewGeneration(generation));
  if (winner.index() == 1) co_return Status();
  auto& sent = std::get<0>(winner);
  if (!sent) {
    // What is not in the spool any more is taken again.
    if (sent.error().code == ErrorCode::kNotFound) facts_.layerTaken = false;
    co_return sent;
  }
  crashPoint("send_layer.after");
  if (generation == record_.assignment.generation) facts_.layerSent = true;
  co_return Status();
}

Task<Status> SandboxActor::discardLayer() {
  if (!layerTouched_ || parts_.archiver == nullptr) co_return Status();
  GS_CO_CHECK(co_await parts_.archiver->discardLayer(record_.assignment.sandboxId, Deadline::after(kRuntimeCall)));
  layerTouched_ = false;
  if (record_.intent == Intent::kTakeLayer) record_.intent = Intent::kNone;
  co_return Status();
}

void SandboxActor::removeRunDir() {
  std::error_code ignored;
  std::filesystem::remove_all(parts_.paths.sandboxDir(record_.assignment.sandboxId), ignored);
}

Task<void> SandboxActor::handleFailure(Step step, std::uint64_t generation, Error error) {
  const auto verdict = judgeFailure(step, error);
  logWarn("sandbox_step_failed", {{"sandbox", record_.assignment.sandboxId.text()},
                                  {"step", stepName(step)},
                                  {"retry", verdict.retry == Retry::kYes},
                                  {"error", error.describe()}});
  if (verdict.retry == Retry::kNo) {
    record_.failedGeneration = generation;
    if (generation == record_.assignment.generation) {
      stage({SandboxState::kFailed, verdict.reason, verdict.message, facts_.exit});
    }
    facts_.container = Seen::kUnknown;
    if (const auto saved = co_await commit(); saved) co_return;
  } else {
    // What was seen last stays true; only a sandbox that is still being made says why it does not get on.
    const auto state = record_.observation.state;
    const bool archiving = state == SandboxState::kStopped && record_.assignment.desired == DesiredState::kArchived;
    if (state == SandboxState::kProvisioning || state == SandboxState::kStarting || archiving) {
      stage({state, verdict.reason, verdict.message, archiving ? record_.observation.exit : std::nullopt});
      [[maybe_unused]] const auto saved = co_await commit();
    }
    if (step != Step::kPrepare && step != Step::kWait && step != Step::kSendLayer) facts_.container = Seen::kUnknown;
  }
  co_await waitForChange(Deadline::after(std::max(backoff_.next(), Millis(50))));
}

Status SandboxActor::ensureGuestChannel() {
  if (guest_) return {};
  GS_TRY(guest_, parts_.openGuestChannel(record_.assignment.sandboxId));
  guestTasks_.spawn("guest of " + record_.assignment.sandboxId.text(), watchGuest());
  if (parts_.output != nullptr) {
    guestTasks_.spawn("output of " + record_.assignment.sandboxId.text(), parts_.output->collect(record_.assignment.sandboxId, *guest_));
  }
  return {};
}

Task<void> SandboxActor::closeGuestChannel() {
  if (!guest_) co_return;
  // Closing wakes the watcher with the channel's last state; it ends when it sees that the channel was replaced.
  const auto old = std::move(guest_);
  guest_.reset();
  co_await old->close();
  co_await guestTasks_.join();
}

Task<void> SandboxActor::watchGuest() {
  GuestChannel* const channel = guest_.get();
  std::uint64_t revision = 0;
  while (guest_.get() == channel) {
    const GuestState state = co_await channel->waitChange(revision, Deadline::after(kLookAgain));
    if (guest_.get() != channel) co_return;
    if (state.revision == revision) continue;
    revision = state.revision;
    if (!state.connected) {
      hint();
      continue;
    }
    facts_.gateOpen = state.gateOpen;
    if (state.workload.phase == WorkloadState::Phase::kExited && state.workload.endedWithSandbox) {
      // The container is about to end, by somebody's hand: what there is to tell is told by looking at it.
      facts_.container = Seen::kUnknown;
    } else if (state.workload.phase == WorkloadState::Phase::kExited && !facts_.workloadExit) {
      facts_.workloadExit = toExitInfo(state.workload.exit, parts_.clock.wallNow());
      facts_.workloadStartError = state.workload.exit.startError;
      // Looked at once more first: only the runtime knows whether the memory limit was hit.
      facts_.container = Seen::kUnknown;
    }
    wake();
  }
}

Status SandboxActor::checkRunning() const {
  if (running() && guest_ && record_.assignment.desired == DesiredState::kRunning) return {};
  return fail(makeError(ErrorCode::kFailedPrecondition,
                        fmt::format("the sandbox is {}, not running", sandboxStateName(record_.observation.state)))
                  .withReason("sandbox_not_running")
                  .withFix("start it, or wait until it runs"));
}

Task<Result<std::unique_ptr<GuestExec>>> SandboxActor::startExec(ProcessSpec process, Deadline deadline) {
  GS_CO_CHECK(checkRunning());
  if (process.user.empty()) process.user = record_.execUser;
  if (process.workingDir.empty()) process.workingDir = record_.execWorkingDir;
  auto run = runEnd_;
  GS_CO_TRY(auto exec, co_await guest_->startExec(std::move(process), deadline));
  co_return execOfRun(std::move(exec), std::move(run));
}

Task<Result<std::unique_ptr<GuestExec>>> SandboxActor::attachSession(AttachSpec spec, Deadline deadline) {
  GS_CO_CHECK(checkRunning());
  auto run = runEnd_;
  GS_CO_TRY(auto exec, co_await guest_->attachSession(std::move(spec), deadline));
  co_return execOfRun(std::move(exec), std::move(run));
}

Task<Result<std::vector<SessionSummary>>> SandboxActor::listSessions(Deadline deadline) {
  GS_CO_CHECK(checkRunning());
  co_return co_await guest_->listSessions(deadline);
}

Task<Status> SandboxActor::endSession(std::string session, SessionClaim claim, Deadline deadline) {
  GS_CO_CHECK(checkRunning());
  co_return co_await guest_->endSession(std::move(session), std::move(claim), deadline);
}

Task<Result<std::shared_ptr<GuestConnection>>> SandboxActor::startFiles(Deadline deadline) {
  GS_CO_CHECK(checkRunning());
  co_return co_await guest_->startFiles(deadline);
}

}  // namespace gs

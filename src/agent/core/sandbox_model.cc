#include "agent/core/sandbox_model.h"

namespace gs {
namespace {

constexpr std::string_view kRestartBackoff = "restart_backoff";
constexpr std::string_view kRestarting = "restarting";
constexpr std::string_view kDisconnectStop = "host_disconnected_stop";
// A run of this length was a good one: the next restart waits as little as the first.
constexpr Millis kLongRun{60'000};
constexpr std::int64_t kFirstWaitMs = 1'000;
constexpr std::int64_t kLongestWaitMs = 60'000;
constexpr int kUnknownCode = -1;

constexpr std::pair<Intent, std::string_view> kIntentNames[] = {{Intent::kNone, "none"},
                                                                {Intent::kCreate, "create"},
                                                                {Intent::kStart, "start"},
                                                                {Intent::kStop, "stop"},
                                                                {Intent::kRemove, "remove"},
                                                                {Intent::kTakeLayer, "take_layer"}};

Decision wait() { return {}; }
Decision waitSaying(ObservationDraft draft) { return {Step::kWait, std::move(draft), std::nullopt}; }
Decision doing(Step step) { return {step, std::nullopt, std::nullopt}; }
Decision doingSaying(Step step, SandboxState state, std::string reason, std::string message) {
  return {step, ObservationDraft{state, std::move(reason), std::move(message), std::nullopt}, std::nullopt};
}

// The kernel kills with SIGKILL, which a shell around the victim turns into 137. Any other end is not its doing, even if
// it has killed something else in the sandbox before.
bool looksKilled(const ExitInfo& exit) { return exit.signal == 9 || exit.code == 137; }

std::string describeExit(const ExitInfo& exit) {
  return exit.signal != 0 ? fmt::format("signal {}", exit.signal) : fmt::format("exit code {}", exit.code);
}

bool isRestartWait(const Observation& said) {
  return said.state == SandboxState::kStarting && said.reason == kRestartBackoff;
}

// Whether it says that the last run is over, by itself or by somebody's hand.
bool tellsAnEnd(const Observation& said) {
  return said.state == SandboxState::kFailed || said.state == SandboxState::kStopped || isRestartWait(said);
}

// It does not run because the control plane was out of reach, and is to run again when it is heard.
bool toldDisconnectStop(const SandboxRecord& record) {
  const auto& said = record.observation;
  return said.generation == record.assignment.generation && said.state == SandboxState::kStopped && said.reason == kDisconnectStop;
}

bool hasToldEnd(const SandboxRecord& record) {
  return record.observation.generation == record.assignment.generation && tellsAnEnd(record.observation);
}

bool wasRebooted(const SandboxRecord& record, const SandboxFacts& facts) {
  return !record.runBootId.empty() && record.runBootId != facts.bootId;
}

// The run ended with the engine, not by itself.
bool endedByEngine(const SandboxRecord& record, const SandboxFacts& facts) {
  if (record.runInstance.empty() || facts.instance.empty()) return facts.runtimeWasLost;
  return record.runInstance != facts.instance;
}

bool startIsPending(const SandboxRecord& record, const SandboxFacts& facts) {
  return record.intent == Intent::kStart && facts.startedAt == record.startedBefore;
}

bool ranOutOfMemory(const SandboxFacts& facts) { return facts.oomKilled || (facts.exit && facts.exit->oomKilled); }

// The workload's own exit is worth more than the container's, which is that of the guest around it. A signal that the
// kernel sends for a fault is the doing of what ran; any other end of the guest comes from outside.
ExitCause causeOf(const SandboxRecord& record, const SandboxFacts& facts, const ExitInfo& exit) {
  if (record.endCause != ExitCause::kUnspecified) return record.endCause;
  if (facts.workloadExit) return ranOutOfMemory(facts) && looksKilled(exit) ? ExitCause::kOutOfMemory : ExitCause::kExited;
  if (ranOutOfMemory(facts)) return ExitCause::kOutOfMemory;
  if (wasRebooted(record, facts)) return ExitCause::kHostRestarted;
  if (endedByEngine(record, facts)) return ExitCause::kRuntimeLost;
  const bool fault = exit.signal == 4 || exit.signal == 6 || exit.signal == 7 || exit.signal == 8 || exit.signal == 11;
  return fault ? ExitCause::kExited : ExitCause::kKilled;
}

// The death certificate of the last run. What was told of it stays, when nothing better is known: the agent that saw the
// workload's exit may not be the one that is asked.
std::optional<ExitInfo> endOf(const SandboxRecord& record, const SandboxFacts& facts) {
  if (!facts.workloadExit && record.observation.exit && tellsAnEnd(record.observation)) return record.observation.exit;
  auto exit = facts.workloadExit ? facts.workloadExit : facts.exit;
  if (!exit) return exit;
  exit->cause = causeOf(record, facts, *exit);
  exit->oomKilled = facts.workloadExit ? ranOutOfMemory(facts) && looksKilled(*exit) : ranOutOfMemory(facts);
  return exit;
}

// The run is over: what is said of it.
ObservationDraft endOfRun(const SandboxRecord& record, const SandboxFacts& facts) {
  const auto& said = record.observation;
  if (!facts.workloadExit && hasToldEnd(record) && said.exit) return {said.state, said.reason, said.message, said.exit};
  ObservationDraft draft;
  draft.exit = endOf(record, facts);
  draft.state = SandboxState::kFailed;
  if (!facts.workloadStartError.empty()) {
    draft.reason = "workload_start_failed";
    draft.message = "the command could not be started: " + facts.workloadStartError;
    return draft;
  }
  if (facts.workloadExit) {
    const bool clean = facts.workloadExit->code == 0 && facts.workloadExit->signal == 0;
    const bool byMemory = draft.exit->oomKilled;
    draft.state = clean && !byMemory ? SandboxState::kStopped : SandboxState::kFailed;
    draft.reason = byMemory ? "oom_killed" : "workload_exited";
    draft.message = byMemory ? "the memory limit was reached and the kernel ended the workload"
                             : "the workload ended with " + describeExit(*facts.workloadExit);
    return draft;
  }
  const bool oom = ranOutOfMemory(facts);
  draft.reason = oom ? "oom_killed" : "guest_lost";
  draft.message = oom ? "the memory limit was reached and the kernel ended the sandbox"
                      : "the sandbox's first process ended" + (draft.exit ? " with " + describeExit(*draft.exit) : "");
  return draft;
}

std::uint32_t restartsOf(const SandboxRecord& record) {
  return record.observation.generation == record.assignment.generation ? record.observation.restarts : 0;
}

// What could not even be started is not started again: it would fail for ever.
bool isRestarted(const SandboxRecord& record, const ObservationDraft& end) {
  const auto& policy = record.assignment.spec.restart;
  if (policy.mode == RestartMode::kNever || end.reason == "workload_start_failed") return false;
  if (policy.mode == RestartMode::kOnFailure && end.state == SandboxState::kStopped) return false;
  return policy.maxRestarts == 0 || restartsOf(record) < policy.maxRestarts;
}

bool wasLongRun(const SandboxFacts& facts, const std::optional<ExitInfo>& exit) {
  return facts.startedAt && exit && exit->at - *facts.startedAt >= kLongRun;
}

Millis longestWait(const SandboxRecord& record, const SandboxFacts& facts, const std::optional<ExitInfo>& exit) {
  const auto doublings = wasLongRun(facts, exit) ? 0U : std::min(record.quickRestarts, 10U);
  return Millis(std::min(kFirstWaitMs << doublings, kLongestWaitMs));
}

// The run is over by itself, and perhaps another one follows by its policy.
ObservationDraft endOrRestart(const SandboxRecord& record, const SandboxFacts& facts) {
  auto draft = endOfRun(record, facts);
  if (draft.reason == kRestartBackoff || !isRestarted(record, draft)) return draft;
  const auto most = record.assignment.spec.restart.maxRestarts;
  draft.state = SandboxState::kStarting;
  draft.reason = kRestartBackoff;
  draft.message += fmt::format("; restart {}{} follows within {} s", restartsOf(record) + 1, most == 0 ? "" : fmt::format(" of {}", most),
                               longestWait(record, facts, draft.exit).count() / 1000);
  return draft;
}

Decision afterEnd(const SandboxRecord& record, const SandboxFacts& facts) {
  auto draft = endOrRestart(record, facts);
  if (draft.reason != kRestartBackoff) return waitSaying(std::move(draft));
  if (facts.restartDue && hasToldEnd(record) && !facts.disconnectedTooLong) {
    return {Step::kStart, ObservationDraft{SandboxState::kStarting, std::string(kRestarting), "its restart policy starts it again",
                                           std::nullopt, true}, std::nullopt};
  }
  const auto within = longestWait(record, facts, draft.exit);
  return {Step::kWait, std::move(draft), within};
}

// Told in the name of a fresh root file system that was held or refused then: what ran was on the one before.
bool toldOfOldRoot(const SandboxRecord& record) {
  const auto& reason = record.observation.reason;
  return record.assignment.rootGeneration != 0 && record.runGeneration < record.assignment.rootGeneration &&
         (reason == kDeletionHeld || reason == kDeletionRejected);
}

// A run counts as this generation's when it was started in its name, or was told of in its name: the latter covers a run
// that was going on when the generation came, and one that was adopted after the journal was lost.
bool ranInThisGeneration(const SandboxRecord& record) {
  const auto& said = record.observation;
  return record.runGeneration == record.assignment.generation ||
         (said.generation == record.assignment.generation && !toldOfOldRoot(record) &&
          (said.state == SandboxState::kRunning || (said.exit && tellsAnEnd(said))));
}

Decision decideDeleted(const SandboxRecord& record, const SandboxFacts& facts) {
  const bool told = record.observation.state == SandboxState::kDeleted &&
                    record.observation.generation == record.assignment.generation;
  switch (facts.container) {
    case Seen::kUnknown:
      // The runtime's own event of the removal comes after it was seen, and makes the actor look again; that is no news.
      return told ? doing(Step::kInspect) : doingSaying(Step::kInspect, SandboxState::kDeleting, "", "");
    case Seen::kAbsent: break;
    default: return doingSaying(Step::kRemove, SandboxState::kDeleting, "", "");
  }
  if (told && record.ackedSequence >= record.observation.sequence) return doing(Step::kFinish);
  return waitSaying({SandboxState::kDeleted, "", "", std::nullopt});
}

Decision decideStopped(const SandboxRecord& record, const SandboxFacts& facts) {
  if (facts.container == Seen::kRunning) return doing(Step::kStop);
  return waitSaying({SandboxState::kStopped, "stopped_by_user", "", endOf(record, facts)});
}

// A fresh root file system is wanted. What it is made of comes first, so that the old one is not given up for a blueprint
// that cannot be had, and so that the sandbox is away no longer than it must.
Decision decideReplacement(const SandboxFacts& facts) {
  const Step step = !facts.blueprintReady                 ? Step::kPrepare
                    : facts.container == Seen::kRunning ? Step::kStop
                                                        : Step::kRemove;
  return doingSaying(step, SandboxState::kProvisioning, "reprovisioning", "");
}

// Whether there must be a container, or have been one, with the present root file system.
bool hasLived(const SandboxRecord& record) {
  const auto root = record.assignment.rootGeneration;
  const auto& said = record.observation;
  return (record.runGeneration > 0 && record.runGeneration >= root) || (said.startedAt && said.generation >= root);
}

// Everything stays on the host until the control plane has it; then it wishes the sandbox deleted here.
Decision decideArchived(const SandboxRecord& record, const SandboxFacts& facts) {
  if (facts.container == Seen::kUnknown) return doing(Step::kInspect);
  if (facts.container == Seen::kRunning) return doing(Step::kStop);
  const auto saying = [&](Step step) {
    return Decision{step, ObservationDraft{SandboxState::kStopped, "archiving", "", endOf(record, facts)}, std::nullopt};
  };
  // A fresh root file system was wanted and never made: what is archived is the blueprint as it is.
  if (isStale(record, facts)) return saying(Step::kRemove);
  if (!facts.layerTaken) {
    if (facts.container == Seen::kAbsent && hasLived(record)) {
      return waitSaying({SandboxState::kFailed, "container_lost", "the container was removed by something other than this agent",
                         std::nullopt});
    }
    return saying(Step::kTakeLayer);
  }
  return saying(facts.layerSent ? Step::kWait : Step::kSendLayer);
}

// The run ended, but not by itself: it is begun again, and that is no restart by the policy.
Decision startAgain(const SandboxRecord& record, const SandboxFacts& facts, std::string reason, std::string message) {
  return {Step::kStart,
          ObservationDraft{SandboxState::kStarting, std::move(reason), std::move(message), endOf(record, facts)}, std::nullopt};
}

Decision decideExited(const SandboxRecord& record, const SandboxFacts& facts) {
  if (!ranInThisGeneration(record) || startIsPending(record, facts)) return doingSaying(Step::kStart, SandboxState::kStarting, "", "");
  if (record.endCause == ExitCause::kDisconnected || toldDisconnectStop(record)) {
    return startAgain(record, facts, "host_reconnected", "the control plane is in reach again");
  }
  // A stop that was begun for an earlier wish, and is done.
  if (record.endCause != ExitCause::kUnspecified) return startAgain(record, facts, "", "");
  // An end that was told already is no work of a host or an engine that goes away later.
  if (hasToldEnd(record)) return afterEnd(record, facts);
  if (wasRebooted(record, facts)) return startAgain(record, facts, "host_restarted", "the host was restarted");
  if (endedByEngine(record, facts) && !facts.workloadExit) {
    return startAgain(record, facts, "runtime_restarted",
                      "the container engine stopped and took the sandbox's processes with it");
  }
  return afterEnd(record, facts);
}

Decision decideAbsent(const SandboxRecord& record, const SandboxFacts& facts) {
  if (ranInThisGeneration(record) && !startIsPending(record, facts)) {
    ObservationDraft draft{SandboxState::kFailed, "container_lost",
                           "the container was removed by something other than this agent", std::nullopt};
    if (facts.missedAt) draft.exit = ExitInfo{kUnknownCode, 0, false, *facts.missedAt, ExitCause::kKilled};
    if (hasToldEnd(record) && record.observation.exit) draft.exit = record.observation.exit;
    return waitSaying(std::move(draft));
  }
  if (!facts.blueprintReady) return doingSaying(Step::kPrepare, SandboxState::kProvisioning, "provisioning", "");
  return doingSaying(Step::kCreate, SandboxState::kProvisioning, "provisioning", "");
}

Decision decideConnected(const SandboxRecord& record, const SandboxFacts& facts) {
  if (isStale(record, facts)) return decideReplacement(facts);
  switch (facts.container) {
    case Seen::kUnknown: return doing(Step::kInspect);
    case Seen::kAbsent: return decideAbsent(record, facts);
    case Seen::kCreated: return doingSaying(Step::kStart, SandboxState::kStarting, "", "");
    case Seen::kRunning:
      // The workload may have been told to end already: what was begun is finished, and then it is started anew.
      if (record.endCause != ExitCause::kUnspecified) return doing(Step::kStop);
      // Told before the container is stopped, so that a crash in between cannot lose the workload's exit.
      if (facts.workloadExit) return {Step::kStop, endOrRestart(record, facts), std::nullopt};
      if (!facts.gateOpen) {
        // After an agent restart the guest needs a moment to dial again; a running sandbox is not reported as starting.
        if (ranInThisGeneration(record) && record.observation.state == SandboxState::kRunning) return doing(Step::kOpenGate);
        return doingSaying(Step::kOpenGate, SandboxState::kStarting, "", "");
      }
      return waitSaying({SandboxState::kRunning, "", "", std::nullopt});
    case Seen::kExited: return decideExited(record, facts);
  }
  return wait();
}

// What runs without a control plane is stopped when its spec says so, and nothing is begun; how it ended stays told.
Decision decideRunning(const SandboxRecord& record, const SandboxFacts& facts) {
  auto next = decideConnected(record, facts);
  if (!facts.disconnectedTooLong) return next;
  switch (next.step) {
    case Step::kOpenGate: return doing(Step::kStop);
    case Step::kWait:
      if (facts.container == Seen::kRunning) return doing(Step::kStop);
      // It is not restarted before the control plane is back, however long ago the wait for that was over.
      next.restartWithin.reset();
      return next;
    case Step::kPrepare:
    case Step::kCreate:
    case Step::kStart:
      return waitSaying({SandboxState::kStopped, std::string(kDisconnectStop),
                         fmt::format("the control plane was out of reach for {} s", record.assignment.spec.stopAfterDisconnect.count()),
                         ranInThisGeneration(record) ? endOf(record, facts) : std::nullopt});
    default: return next;
  }
}

}  // namespace

bool endNeedsSecondLook(const SandboxRecord& record, const SandboxFacts& facts) {
  return record.assignment.desired == DesiredState::kRunning && ranInThisGeneration(record) && record.intent != Intent::kStop &&
         record.endCause == ExitCause::kUnspecified && !facts.workloadExit && !hasToldEnd(record);
}

SandboxRecord firstRecord(Assignment assignment) {
  SandboxRecord record;
  record.assignment = std::move(assignment);
  if (!record.assignment.known) return record;
  record.observation = *std::exchange(record.assignment.known, std::nullopt);
  record.ackedSequence = record.observation.sequence;
  const bool failed = record.observation.state == SandboxState::kFailed && !record.observation.exit;
  if (failed) record.failedGeneration = record.observation.generation;
  return record;
}

std::string_view intentName(Intent intent) {
  for (const auto& [value, name] : kIntentNames) {
    if (value == intent) return name;
  }
  return "none";
}

Intent parseIntent(std::string_view name) {
  for (const auto& [value, text] : kIntentNames) {
    if (text == name) return value;
  }
  return Intent::kNone;
}

std::string_view stepName(Step step) {
  switch (step) {
    case Step::kInspect: return "inspect";
    case Step::kPrepare: return "prepare";
    case Step::kCreate: return "create";
    case Step::kStart: return "start";
    case Step::kOpenGate: return "open_gate";
    case Step::kStop: return "stop";
    case Step::kRemove: return "remove";
    case Step::kTakeLayer: return "take_layer";
    case Step::kSendLayer: return "send_layer";
    case Step::kFinish: return "finish";
    case Step::kWait: return "wait";
  }
  return "wait";
}

Decision decide(const SandboxRecord& record, const SandboxFacts& facts) {
  const auto& assignment = record.assignment;
  if (assignment.desired == DesiredState::kDeleted) return decideDeleted(record, facts);
  if (record.failedGeneration == assignment.generation) {
    // What failed half-way must not go on running unseen.
    if (facts.container == Seen::kUnknown) return doing(Step::kInspect);
    return facts.container == Seen::kRunning ? doing(Step::kStop) : wait();
  }
  if (assignment.desired == DesiredState::kArchived) return decideArchived(record, facts);
  if (assignment.desired == DesiredState::kStopped) {
    return facts.container == Seen::kUnknown ? doing(Step::kInspect) : decideStopped(record, facts);
  }
  return decideRunning(record, facts);
}

bool isStale(const SandboxRecord& record, const SandboxFacts& facts) {
  const bool there = facts.container != Seen::kUnknown && facts.container != Seen::kAbsent;
  return there && facts.containerGeneration < record.assignment.rootGeneration;
}

void noteStart(SandboxRecord& record, const SandboxFacts& facts) {
  if (!startIsPending(record, facts)) {
    const bool byPolicy = record.observation.reason == kRestarting && record.observation.generation == record.assignment.generation;
    if (byPolicy) {
      record.quickRestarts = wasLongRun(facts, endOf(record, facts)) ? 1 : record.quickRestarts + 1;
    } else if (record.runGeneration != record.assignment.generation) {
      record.quickRestarts = 0;
    }
  }
  record.startedBefore = facts.startedAt;
  record.runGeneration = record.assignment.generation;
  record.runBootId = facts.bootId;
  record.endCause = ExitCause::kUnspecified;
  record.intent = Intent::kStart;
}

void noteStop(SandboxRecord& record, const SandboxFacts& facts) {
  record.intent = Intent::kStop;
  // Cleaning up after a workload that ended by itself, or after a generation that failed, is no end that needs a cause.
  if (record.endCause != ExitCause::kUnspecified || facts.workloadExit) return;
  if (record.observation.exit && tellsAnEnd(record.observation)) return;
  if (record.assignment.desired != DesiredState::kRunning || isStale(record, facts)) {
    record.endCause = ExitCause::kStopped;
  } else if (facts.disconnectedTooLong) {
    record.endCause = ExitCause::kDisconnected;
  }
}

Result<Acceptance> checkAssignment(const Assignment& incoming, const SandboxRecord* present, Deletion deletion) {
  if (present == nullptr) {
    if (incoming.spec.runtime != "docker") {
      return fail(makeError(ErrorCode::kUnimplemented,
                            fmt::format("this host cannot run the runtime '{}'", incoming.spec.runtime))
                      .withReason("spec_rejected"));
    }
    if (incoming.spec.resources.memoryBytes < (6ULL << 20) || incoming.spec.resources.cpuMillis == 0 ||
        incoming.spec.resources.pids == 0) {
      return fail(makeError(ErrorCode::kInvalidArgument, "the sandbox's resources are below what any process needs")
                      .withReason("spec_rejected"));
    }
    return Acceptance::kNew;
  }
  const auto& held = present->assignment;
  if (incoming.generation < held.generation) {
    return fail(makeError(ErrorCode::kAborted, fmt::format("generation {} is older than {}, which this host has",
                                                           incoming.generation, held.generation))
                    .withReason("stale_generation"));
  }
  if (incoming.generation == held.generation) return Acceptance::kSame;
  // One that was archived is deleted here and may come back to the same host, with a root file system of its own.
  const bool comesBack = incoming.rootGeneration > held.generation;
  if (held.desired == DesiredState::kDeleted && incoming.desired != DesiredState::kDeleted && !comesBack && deletion == Deletion::kStands) {
    return fail(makeError(ErrorCode::kFailedPrecondition, "the sandbox is being deleted").withReason("spec_rejected"));
  }
  const bool freshRoot = incoming.rootGeneration > held.rootGeneration;
  if (incoming.spec.runtime != held.spec.runtime || (!freshRoot && incoming.spec.manifest != held.spec.manifest)) {
    return fail(makeError(ErrorCode::kInvalidArgument,
                          "the runtime cannot change in place, nor the blueprint without a fresh root file system")
                    .withReason("spec_rejected"));
  }
  return Acceptance::kNew;
}

namespace {

// Nothing is lost by any of these: the sandbox stays as it is. What time may mend is tried again.
FailureVerdict judgeArchiving(Step step, const Error& error, FailureVerdict verdict) {
  const bool sending = step == Step::kSendLayer;
  switch (error.code) {
    case ErrorCode::kResourceExhausted:
      verdict.reason = sending ? "archive_failed" : "disk_full";
      if (sending) verdict.message = "the control plane cannot keep it: " + verdict.message;
      return verdict;
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInvalidArgument: verdict.reason = "archive_failed"; return verdict;
    case ErrorCode::kFailedPrecondition:
      verdict.reason = "archive_failed";
      // Not wanted any more: that is about to be told, or was.
      if (error.reason == "not_archiving") verdict.retry = Retry::kYes;
      return verdict;
    default: break;
  }
  verdict.retry = Retry::kYes;
  verdict.reason = "archiving";
  return verdict;
}

}  // namespace

FailureVerdict judgeFailure(Step step, const Error& error) {
  FailureVerdict verdict;
  verdict.message = error.message + (error.fix.empty() ? "" : "; " + error.fix);
  const bool preparing = step == Step::kPrepare;
  if (step == Step::kTakeLayer || step == Step::kSendLayer) return judgeArchiving(step, error, std::move(verdict));
  switch (error.code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
    case ErrorCode::kAborted:
      // Waiting for a guest that never comes is no outage of the runtime: the run failed.
      if (step == Step::kOpenGate && error.code == ErrorCode::kDeadlineExceeded) {
        verdict.reason = "guest_lost";
        return verdict;
      }
      verdict.retry = Retry::kYes;
      verdict.reason = preparing ? "blueprint_unavailable" : "runtime_unavailable";
      return verdict;
    case ErrorCode::kResourceExhausted: verdict.reason = preparing ? "disk_full" : "runtime_error"; break;
    case ErrorCode::kDataLoss: verdict.reason = preparing ? "blueprint_damaged" : "runtime_error"; break;
    case ErrorCode::kNotFound:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated: verdict.reason = preparing ? "blueprint_unavailable" : "runtime_error"; break;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnimplemented: verdict.reason = "spec_rejected"; break;
    default: verdict.reason = "runtime_error"; break;
  }
  // It was there a moment ago. What is there now is found by looking.
  if (step == Step::kStart && error.code == ErrorCode::kNotFound) verdict.retry = Retry::kYes;
  // A container that cannot be stopped or removed now must be tried again: giving up would leave it running.
  if (step == Step::kStop || step == Step::kRemove || step == Step::kInspect) verdict.retry = Retry::kYes;
  if (!error.reason.empty() && error.reason == "disk_full") verdict.reason = error.reason;
  return verdict;
}

std::optional<Observation> nextObservation(const SandboxRecord& record, const ObservationDraft& draft, WallTime now,
                                           std::optional<WallTime> startedAt) {
  const auto& last = record.observation;
  const bool same = last.sequence != 0 && last.generation == record.assignment.generation &&
                    last.state == draft.state && last.reason == draft.reason && last.message == draft.message &&
                    last.exit == draft.exit && !draft.countsRestart;
  if (same) return std::nullopt;
  Observation next;
  next.sandboxId = record.assignment.sandboxId;
  next.generation = record.assignment.generation;
  next.sequence = last.sequence + 1;
  next.state = draft.state;
  next.reason = draft.reason;
  next.message = draft.message;
  next.exit = draft.exit;
  next.observedAt = now;
  next.startedAt = startedAt ? startedAt : last.startedAt;
  next.restarts = restartsOf(record) + (draft.countsRestart ? 1 : 0);
  return next;
}

}  // namespace gs

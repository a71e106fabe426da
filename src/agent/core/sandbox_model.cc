#include "agent/core/sandbox_model.h"

namespace gs {
namespace {

constexpr std::pair<Intent, std::string_view> kIntentNames[] = {{Intent::kNone, "none"},
                                                                {Intent::kCreate, "create"},
                                                                {Intent::kStart, "start"},
                                                                {Intent::kStop, "stop"},
                                                                {Intent::kRemove, "remove"}};

Decision wait() { return {}; }
Decision waitSaying(ObservationDraft draft) { return {Step::kWait, std::move(draft)}; }
Decision doing(Step step) { return {step, std::nullopt}; }
Decision doingSaying(Step step, SandboxState state, std::string reason, std::string message) {
  return {step, ObservationDraft{state, std::move(reason), std::move(message), std::nullopt}};
}

// The kernel kills with SIGKILL, which a shell around the victim turns into 137. Any other end is not its doing, even if
// it has killed something else in the sandbox before.
bool looksKilled(const ExitInfo& exit) { return exit.signal == 9 || exit.code == 137; }

std::string describeExit(const ExitInfo& exit) {
  return exit.signal != 0 ? fmt::format("signal {}", exit.signal) : fmt::format("exit code {}", exit.code);
}

// The run is over: what is said of it. The workload's own exit is worth more than the container's, which is that of the
// guest around it.
ObservationDraft endOfRun(const SandboxRecord& record, const SandboxFacts& facts) {
  ObservationDraft draft;
  draft.exit = facts.workloadExit ? facts.workloadExit : facts.exit;
  const bool oom = facts.oomKilled || (facts.exit && facts.exit->oomKilled);
  if (draft.exit && oom) draft.exit->oomKilled = true;
  if (!facts.workloadStartError.empty()) {
    draft.state = SandboxState::kFailed;
    draft.reason = "workload_start_failed";
    draft.message = "the command could not be started: " + facts.workloadStartError;
    return draft;
  }
  if (facts.workloadExit) {
    const bool clean = facts.workloadExit->code == 0 && facts.workloadExit->signal == 0;
    const bool byMemory = oom && looksKilled(*facts.workloadExit);
    draft.exit->oomKilled = byMemory;
    draft.state = clean ? SandboxState::kStopped : SandboxState::kFailed;
    draft.reason = byMemory ? "oom_killed" : "workload_exited";
    draft.message = byMemory ? "the memory limit was reached and the kernel ended the workload"
                             : "the workload ended with " + describeExit(*facts.workloadExit);
    return draft;
  }
  draft.state = SandboxState::kFailed;
  draft.reason = oom ? "oom_killed" : "guest_lost";
  draft.message = oom ? "the memory limit was reached and the kernel ended the sandbox"
                      : "the sandbox's first process ended" + (draft.exit ? " with " + describeExit(*draft.exit) : "");
  // A run that ended before this agent saw its workload's exit keeps what an earlier observation said.
  if (record.observation.generation == record.assignment.generation && record.observation.exit &&
      record.observation.reason == "workload_exited") {
    draft.exit = record.observation.exit;
    draft.reason = record.observation.reason;
    draft.state = record.observation.state;
    draft.message = record.observation.message;
  }
  return draft;
}

// A run counts as this generation's when it was started in its name, or was told of in its name: the latter covers a run
// that was going on when the generation came, and one that was adopted after the journal was lost.
bool ranInThisGeneration(const SandboxRecord& record) {
  const auto& said = record.observation;
  return record.runGeneration == record.assignment.generation ||
         (said.generation == record.assignment.generation && (said.state == SandboxState::kRunning || said.exit));
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

Decision decideStopped(const SandboxFacts& facts) {
  if (facts.container == Seen::kRunning) return doing(Step::kStop);
  ObservationDraft draft{SandboxState::kStopped, "stopped_by_user", "", facts.workloadExit ? facts.workloadExit : facts.exit};
  return waitSaying(std::move(draft));
}

bool hasToldEnd(const SandboxRecord& record) {
  const auto& last = record.observation;
  return last.generation == record.assignment.generation &&
         (last.state == SandboxState::kFailed || last.state == SandboxState::kStopped);
}

// The run ended with the engine, not by itself.
bool endedByEngine(const SandboxRecord& record, const SandboxFacts& facts) {
  if (record.runInstance.empty() || facts.instance.empty()) return facts.runtimeWasLost;
  return record.runInstance != facts.instance;
}

Decision decideRunning(const SandboxRecord& record, const SandboxFacts& facts) {
  const bool ranThisGeneration = ranInThisGeneration(record);
  const bool startPending = record.intent == Intent::kStart && facts.startedAt == record.startedBefore;
  switch (facts.container) {
    case Seen::kUnknown: return doing(Step::kInspect);
    case Seen::kAbsent:
      if (ranThisGeneration && !startPending) {
        return waitSaying({SandboxState::kFailed, "container_lost",
                           "the container was removed by something other than this agent", std::nullopt});
      }
      if (!facts.blueprintReady) return doingSaying(Step::kPrepare, SandboxState::kProvisioning, "provisioning", "");
      return doingSaying(Step::kCreate, SandboxState::kProvisioning, "provisioning", "");
    case Seen::kCreated: return doingSaying(Step::kStart, SandboxState::kStarting, "", "");
    case Seen::kRunning:
      // Told before the container is stopped, so that a crash in between cannot lose the workload's exit.
      if (facts.workloadExit) return {Step::kStop, endOfRun(record, facts)};
      if (!facts.gateOpen) {
        // After an agent restart the guest needs a moment to dial again; a running sandbox is not reported as starting.
        if (ranThisGeneration && record.observation.state == SandboxState::kRunning) return doing(Step::kOpenGate);
        return doingSaying(Step::kOpenGate, SandboxState::kStarting, "", "");
      }
      return waitSaying({SandboxState::kRunning, "", "", std::nullopt});
    case Seen::kExited:
      if (!ranThisGeneration || startPending) return doingSaying(Step::kStart, SandboxState::kStarting, "", "");
      if (!record.runBootId.empty() && record.runBootId != facts.bootId && !record.observation.exit) {
        return doingSaying(Step::kStart, SandboxState::kStarting, "host_restarted", "the host was restarted");
      }
      // An end that was told already is no work of an engine that goes away later.
      if (endedByEngine(record, facts) && !facts.workloadExit && !hasToldEnd(record)) {
        return doingSaying(Step::kStart, SandboxState::kStarting, "runtime_restarted",
                           "the container engine stopped and took the sandbox's processes with it");
      }
      return waitSaying(endOfRun(record, facts));
  }
  return wait();
}

}  // namespace

bool endNeedsSecondLook(const SandboxRecord& record, const SandboxFacts& facts) {
  return record.assignment.desired == DesiredState::kRunning && ranInThisGeneration(record) && record.intent != Intent::kStop &&
         !facts.workloadExit && !hasToldEnd(record);
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
  if (assignment.desired == DesiredState::kStopped) {
    return facts.container == Seen::kUnknown ? doing(Step::kInspect) : decideStopped(facts);
  }
  return decideRunning(record, facts);
}

Result<Acceptance> checkAssignment(const Assignment& incoming, const SandboxRecord* present) {
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
  if (held.desired == DesiredState::kDeleted && incoming.desired != DesiredState::kDeleted) {
    return fail(makeError(ErrorCode::kFailedPrecondition, "the sandbox is being deleted").withReason("spec_rejected"));
  }
  if (incoming.spec.runtime != held.spec.runtime || incoming.spec.manifest != held.spec.manifest) {
    return fail(makeError(ErrorCode::kInvalidArgument, "runtime and blueprint cannot change in place")
                    .withReason("spec_rejected"));
  }
  return Acceptance::kNew;
}

FailureVerdict judgeFailure(Step step, const Error& error) {
  FailureVerdict verdict;
  verdict.message = error.message + (error.fix.empty() ? "" : "; " + error.fix);
  const bool preparing = step == Step::kPrepare;
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
                    last.exit == draft.exit;
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
  return next;
}

}  // namespace gs

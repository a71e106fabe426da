// The rules of one sandbox's life on its host: what is known in, what to do next out. Pure: no I/O, no clock.
//
// The durable part (SandboxRecord) is journalled before every effect; the volatile part (SandboxFacts) is rebuilt by
// looking after a restart. decide() is called again after each effect and each change, until it says kWait. Because it
// starts from what is observed and not from what was intended, running it twice is harmless, and a crash at any point
// resumes by looking.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "wire/sandbox_types.h"

namespace gs {

// The effect that was journalled last and whose result is not known yet.
enum class Intent : std::uint8_t { kNone, kCreate, kStart, kStop, kRemove, kTakeLayer };
[[nodiscard]] std::string_view intentName(Intent intent);
[[nodiscard]] Intent parseIntent(std::string_view name);  // unknown: kNone

struct SandboxRecord {
  Assignment assignment;
  Intent intent = Intent::kNone;
  // The generation in whose name the present (or last) run was started; 0: never.
  std::uint64_t runGeneration = 0;
  // Container start time before the pending kStart, to tell whether that start happened.
  std::optional<WallTime> startedBefore;
  // The host's boot in which that run was started: a run does not survive a reboot, and that is not its own failure.
  std::string runBootId;
  // The life of the runtime in which that run was started, or was last seen running (Runtime::instance). An end in another
  // is the engine's doing, one in the same is the run's own. Empty: not known.
  std::string runInstance;
  // The generation that failed for good; decide() leaves it alone until a newer one comes.
  std::uint64_t failedGeneration = 0;
  // Why this agent began to end the present run; kUnspecified: it did not. Journalled with the intent of the stop: what
  // was begun is finished, and an end of the workload's own it never is.
  ExitCause endCause = ExitCause::kUnspecified;
  // Restarts by the policy in a row, none after a run of a minute: what the wait before the next one doubles by. The
  // count in one generation is Observation::restarts.
  std::uint32_t quickRestarts = 0;
  // What execs get when they do not say: from the spec, else the image.
  std::string execUser;
  std::string execWorkingDir;
  // The last observation made, and how far the server has acknowledged.
  Observation observation;
  std::uint64_t ackedSequence = 0;
  friend bool operator==(const SandboxRecord&, const SandboxRecord&) = default;
};

// The record of a sandbox that this host has no memory of. When the control plane has (Assignment::known), the journal was
// lost: sequences go on from there, and a run that was told of is not begun again.
[[nodiscard]] SandboxRecord firstRecord(Assignment assignment);

// What was seen of the container; kUnknown: not looked yet, or the runtime did not answer.
enum class Seen : std::uint8_t { kUnknown, kAbsent, kCreated, kRunning, kExited };

struct SandboxFacts {
  Seen container = Seen::kUnknown;
  std::uint64_t containerGeneration = 0;  // the one that it was made for; with a container only
  std::optional<WallTime> startedAt;  // of the present or last run, by the runtime
  std::optional<ExitInfo> exit;     // of the container, when exited
  bool gateOpen = false;            // the guest said so
  bool blueprintReady = false;
  // What the sandbox wrote is spooled, and is the control plane's as well; for the present generation.
  bool layerTaken = false;
  bool layerSent = false;
  std::optional<ExitInfo> workloadExit;
  std::string workloadStartError;   // set with workloadExit when it could not be started
  // The life of the runtime that said what is known of the container; empty: cannot be told.
  std::string instance;
  // The runtime stopped answering since the container was last seen running. Where instances cannot be told apart, its
  // end is then taken for the engine's doing.
  bool runtimeWasLost = false;
  // This boot; differs from runBootId after a reboot.
  std::string bootId;
  // The runtime says that the memory limit was hit in this run.
  bool oomKilled = false;
  // When the container was first found missing.
  std::optional<WallTime> missedAt;
  // The control plane has been out of reach for SandboxSpec::stopAfterDisconnect.
  bool disconnectedTooLong = false;
  // The wait that Decision::restartWithin asked for is over.
  bool restartDue = false;
};

enum class Step : std::uint8_t {
  kInspect,   // look at the container
  kPrepare,   // make the blueprint local
  kCreate,
  kStart,
  kOpenGate,
  kStop,
  kRemove,
  kTakeLayer,  // what it wrote since its blueprint, into the spool
  kSendLayer,  // from there to the control plane
  kFinish,    // deleted and acknowledged: forget the record
  kWait,      // nothing to do until something changes
};
[[nodiscard]] std::string_view stepName(Step step);

// What the world should be told, before the step is taken. Compared with the last observation: the same is not repeated.
struct ObservationDraft {
  SandboxState state = SandboxState::kUnknown;
  std::string reason;
  std::string message;
  std::optional<ExitInfo> exit;
  bool countsRestart = false;  // one more restart by the policy
};

struct Decision {
  Step step = Step::kWait;
  std::optional<ObservationDraft> observe;
  // With kWait: the run ended and its policy starts another, after a wait of at most this (full jitter), which is told by
  // SandboxFacts::restartDue.
  std::optional<Millis> restartWithin;
};

[[nodiscard]] Decision decide(const SandboxRecord& record, const SandboxFacts& facts);

// The run of this generation is found ended, and nothing explains it yet: nobody wanted it, nobody was told of it, and the
// workload did not say how it ended. An engine that is going down ends its containers first, so the engine must answer once
// more, a moment later, before the end is held against the sandbox.
[[nodiscard]] bool endNeedsSecondLook(const SandboxRecord& record, const SandboxFacts& facts);

// What the record must say before the effect of kStart and of kStop. Repeat (the effect failed): changes nothing more.
void noteStart(SandboxRecord& record, const SandboxFacts& facts);
void noteStop(SandboxRecord& record, const SandboxFacts& facts);

// Whether the container was made before the fresh root file system that is wanted: it is replaced, not started.
[[nodiscard]] bool isStale(const SandboxRecord& record, const SandboxFacts& facts);

// Whether a newly arrived assignment is taken. Older: kAborted (reason stale_generation). Equal: taken, changes nothing.
// The blueprint changes together with the root generation or not at all, the runtime never: kInvalidArgument. Unknown
// runtime: kUnimplemented.
// What is to be deleted takes no other wish, unless its deletion was refused here.
enum class Acceptance : std::uint8_t { kNew, kSame };
enum class Deletion : std::uint8_t { kStands, kWasRefused };
[[nodiscard]] Result<Acceptance> checkAssignment(const Assignment& incoming, const SandboxRecord* present,
                                                 Deletion deletion = Deletion::kStands);

// How a step's failure is told, and whether the step is tried again. Retryable failures keep the state that was last
// seen (unknown is not dead); others fail the generation.
struct FailureVerdict {
  Retry retry = Retry::kNo;
  std::string reason;
  std::string message;
};
[[nodiscard]] FailureVerdict judgeFailure(Step step, const Error& error);

// Gives the draft its place in the order: next sequence, the assignment's generation. Nothing when it says nothing new.
[[nodiscard]] std::optional<Observation> nextObservation(const SandboxRecord& record, const ObservationDraft& draft,
                                                         WallTime now, std::optional<WallTime> startedAt);

}  // namespace gs

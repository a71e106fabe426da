// Drives one sandbox: asks the pure model what to do, journals, does it, and reports.
//
// One actor a sandbox, with deadlines of its own: a hung container delays nothing but itself (rule 6). The actor is the
// only writer of its record. Loop thread only. Restart: start() with the journalled record; the first step is to look.
// The crash points "<step>.before" (intent on disk) and "<step>.after" (effect done, result not on disk) surround each
// effect.
#pragma once

#include <memory>

#include "agent/core/deletion_fence.h"
#include "agent/sandboxes/ports.h"
#include "agent/sandboxes/run_exec.h"
#include "async/backoff.h"
#include "async/event.h"
#include "async/task_group.h"

namespace gs {

class SandboxActor {
 public:
  // `parts` and `sink` outlive the actor. `onFinished` is called once when the sandbox is gone and forgotten; the actor
  // may be destroyed (after stop()) from then on.
  SandboxActor(const SandboxParts& parts, SandboxRecord record, ObservationSink sink, std::function<void()> onFinished);
  ~SandboxActor();
  SandboxActor(const SandboxActor&) = delete;
  SandboxActor& operator=(const SandboxActor&) = delete;

  void start();
  // Ends the actor's tasks; the sandbox itself is left as it is (rule 7).
  [[nodiscard]] Task<void> stop();

  // Journals a newer assignment and wakes the actor. The caller has checked it (checkAssignment).
  [[nodiscard]] Task<Status> assign(Assignment assignment, Destruction destruction);
  // Success when the present assignment is on disk, after another try if need be. kUnavailable: it is not.
  [[nodiscard]] Task<Status> ensureJournalled();
  void acknowledge(std::uint64_t sequence);
  // What of the destruction that its assignment asks for. Held: nothing is done to the sandbox. Refused: it is served as if
  // it had not been wished (core/deletion_fence.h). Repeat: nothing.
  void settle(Destruction destruction);
  [[nodiscard]] Destruction destruction() const { return destruction_; }
  // The container may have changed: look when there is nothing better to do.
  void hint();
  // The link to the control plane went or came: see SandboxParts::linkDownFor.
  void linkChanged() { wake(); }
  // The engine went away, perhaps for a moment only: an end of the container that is found next may be its doing, where
  // its lives cannot be told apart.
  void runtimeLost();

  // kFailedPrecondition (reason sandbox_not_running) unless it runs; otherwise as GuestChannel::startExec. Empty user
  // and working directory become the sandbox's own.
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> startExec(ProcessSpec process, Deadline deadline);
  // kFailedPrecondition as above; otherwise as GuestChannel::startFiles.
  [[nodiscard]] Task<Result<std::shared_ptr<GuestConnection>>> startFiles(Deadline deadline);
  // The same, as GuestChannel's functions of those names.
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> attachSession(AttachSpec spec, Deadline deadline);
  [[nodiscard]] Task<Result<std::vector<SessionSummary>>> listSessions(Deadline deadline);
  [[nodiscard]] Task<Status> endSession(std::string session, SessionClaim claim, Deadline deadline);

  [[nodiscard]] const SandboxRecord& record() const { return record_; }
  // The last observation that is on disk; sequence 0: none. All that may be told of the sandbox: after a crash the sequence
  // of anything later would be given to another.
  [[nodiscard]] const Observation& saved() const { return saved_; }
  // The same, when the control plane has not acknowledged it.
  [[nodiscard]] const Observation* unacknowledged() const { return saved_.sequence > record_.ackedSequence ? &saved_ : nullptr; }
  // Looking again, or an engine that does not answer, does not end what was running (rule 2).
  [[nodiscard]] bool running() const {
    const bool lookingAgain = facts_.container == Seen::kUnknown && record_.observation.state == SandboxState::kRunning;
    return facts_.gateOpen && (facts_.container == Seen::kRunning || lookingAgain);
  }
  // It ran when this agent's predecessor ended, and has not been looked at, or heard, since.
  [[nodiscard]] bool recovering() const {
    return !running() && record_.assignment.desired == DesiredState::kRunning &&
           record_.observation.state == SandboxState::kRunning &&
           record_.observation.generation >= record_.assignment.rootGeneration;
  }

 private:
  [[nodiscard]] Status checkRunning() const;
  [[nodiscard]] Task<void> run();
  [[nodiscard]] Task<void> watchGuest();
  [[nodiscard]] Task<Status> perform(Step step);
  [[nodiscard]] Task<Status> inspect();
  // One answer of the runtime and the one life of it that gave it; kUnavailable when it was restarted meanwhile.
  struct Sight {
    std::string instance;
    std::optional<RuntimeContainer> container;
  };
  [[nodiscard]] Task<Result<Sight>> look();
  [[nodiscard]] Task<Status> prepare();
  [[nodiscard]] Task<Status> create();
  [[nodiscard]] Task<Status> startContainer();
  [[nodiscard]] Task<Status> openGate();
  [[nodiscard]] Task<Status> stopContainer();
  [[nodiscard]] Task<Status> removeContainer();
  [[nodiscard]] Task<Status> takeLayer();
  [[nodiscard]] Task<Status> sendLayer();
  // Removes what archiving has left, when there may be something.
  [[nodiscard]] Task<Status> discardLayer();
  void removeRunDir();

  // Writes the record, then tells the sink what was staged. The record is as before on failure only on disk: the actor
  // tries again, and nothing is done before it succeeds.
  [[nodiscard]] Task<Status> commit();
  [[nodiscard]] Task<Status> save();
  [[nodiscard]] Task<Status> commitIntent(Intent intent, std::string_view point);
  void stage(const ObservationDraft& draft);
  void countOn();
  [[nodiscard]] Task<void> handleFailure(Step step, std::uint64_t generation, Error error);
  [[nodiscard]] Status ensureGuestChannel();
  [[nodiscard]] Task<void> closeGuestChannel();
  [[nodiscard]] Task<void> waitForChange(Deadline deadline);
  [[nodiscard]] Task<void> waitForChangeOrRestart(std::optional<Millis> restartWithin);
  // Nothing: the control plane is in reach, or the sandbox is kept whatever happens.
  [[nodiscard]] std::optional<Millis> untilDisconnectStop() const;
  [[nodiscard]] Task<void> waitForNewGeneration(std::uint64_t generation);
  void wake();

  const SandboxParts& parts_;
  SandboxRecord record_;
  SandboxFacts facts_;
  ObservationSink sink_;
  std::function<void()> onFinished_;
  std::optional<CacheHandle> image_;
  std::unique_ptr<GuestChannel> guest_;
  std::shared_ptr<RunEnd> runEnd_ = std::make_shared<RunEnd>();
  std::optional<Observation> staged_;
  Observation saved_;
  std::uint64_t journalled_ = 0;  // the newest generation that is on disk; the one in memory may be ahead of it
  Event changed_;
  std::uint64_t changes_ = 0;
  std::uint64_t layerGeneration_ = 0;  // of the layer that the facts are about
  bool layerTouched_ = false;          // something may be left of archiving
  bool hinted_ = false;
  std::uint64_t heardUpTo_ = 0;  // by the control plane, when that is further than this record has told
  bool startAnswered_ = false;  // with success, and not looked since
  std::optional<Deadline> restartAt_;  // the end of the wait before a restart by the policy
  Destruction destruction_ = Destruction::kReleased;
  Backoff backoff_;
  TaskGroup tasks_;
  TaskGroup guestTasks_;
};

}  // namespace gs

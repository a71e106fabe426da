// All sandboxes of this host: takes assignments, keeps one actor for each, and gathers what must be told.
//
// Loop thread only. Restart: recover() brings every journalled sandbox back; nothing that runs is touched (rule 7). A
// container of this host that no record knows is left alone and told of: destruction needs fresh authority (rule 4), and
// when the control plane assigns its sandbox again it is adopted as it is (firstRecord, core/sandbox_model.h).
#pragma once

#include <map>
#include <memory>
#include <set>

#include "agent/guest_channel/session_host.h"
#include "agent/sandboxes/sandbox_actor.h"
#include "wire/messages.h"

namespace gs {

class Supervisor final : public SessionHost {
 public:
  Supervisor(SandboxParts parts, ObservationSink sink);
  ~Supervisor() override;  // stop() must have been awaited

  // Runs once, before anything else. Errors as Journal::load.
  [[nodiscard]] Task<Status> recover();
  [[nodiscard]] Task<void> stop();

  // Takes an assignment and answers when it is journalled, or why it is not taken (see checkAssignment). Repeat: the
  // same answer, and what is unacknowledged is told again.
  [[nodiscard]] Task<AssignmentAck> assign(Assignment assignment);
  void acknowledge(const SandboxId& id, std::uint64_t sequence);
  // A new link to the control plane is up. What was deleted before may be told to exist again over this one, by a control
  // plane that was restored; within one link that is an old message (rule 3).
  void linkUp() { finished_.clear(); }

  // Destructions that wait for a confirmation, by id; see core/deletion_fence.h.
  [[nodiscard]] std::vector<HeldDestruction> heldDestructions() const;
  // Releases all of them, on disk before this returns. kFailedPrecondition (fence_changed): `fence` names another set. The
  // last one that was confirmed since the start: success again.
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDestructions(std::string fence);
  // Refuses all of them, likewise: they are held no more, and not carried out until they are wished anew.
  [[nodiscard]] Task<Result<std::uint32_t>> refuseDestructions(std::string fence);

  // What is on record of it; nothing: no such sandbox here. Until the next co_await.
  [[nodiscard]] const SandboxRecord* find(const SandboxId& id) const {
    const auto found = actors_.find(id);
    return found == actors_.end() ? nullptr : &found->second->record();
  }
  [[nodiscard]] std::vector<AssignmentVersion> versions() const;
  // What the control plane may be told of one that it asks about: nothing that is not on disk yet.
  [[nodiscard]] std::optional<HeldSandbox> findHeld(const SandboxId& id) const;
  // The last observation of each sandbox that the control plane has not acknowledged.
  [[nodiscard]] std::vector<Observation> unacknowledged() const;
  [[nodiscard]] std::size_t runningCount() const;
  // To be called when the runtime was found not to answer; see SandboxActor::runtimeLost. Repeat is harmless.
  void runtimeLost();

  // To be called when the link to the control plane went or came: see SandboxParts::linkDownFor.
  void linkChanged();
  // Whether any sandbox is to be stopped when the control plane is out of reach.
  [[nodiscard]] bool mindsTheLink() const;

  // Containers of this host without a record: to be adopted, or to be looked at by a person. Looked for once a minute.
  [[nodiscard]] std::vector<SandboxId> strangers() const;

  // kNotFound: no such sandbox here; otherwise as SandboxActor::startExec. Right after a restart of the agent it waits
  // until the sandbox was found again, kUnavailable when that takes too long.
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> startExec(SandboxId id, ProcessSpec process, Deadline deadline) override;
  // The same, as SandboxActor's functions of those names.
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> attachSession(SandboxId id, AttachSpec spec, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::vector<SessionSummary>>> listSessions(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Status> endSession(SandboxId id, std::string session, SessionClaim claim, Deadline deadline) override;
  // The same for a file operation.
  [[nodiscard]] Task<Result<std::shared_ptr<GuestConnection>>> startFiles(SandboxId id, Deadline deadline);

 private:
  // The sandbox, once it was found again. Valid until the caller waits for something.
  [[nodiscard]] Task<Result<SandboxActor*>> recovered(SandboxId id, Deadline deadline);
  void addActor(SandboxRecord record, Destruction destruction);
  [[nodiscard]] Result<std::vector<HeldDestruction>> findHeld(const std::string& fence) const;
  [[nodiscard]] FenceAnswers answersFor(const SandboxId& id) const {
    const auto found = answers_.find(id);
    return found == answers_.end() ? FenceAnswers() : found->second;
  }
  void settle(const std::vector<HeldDestruction>& answered, Destruction as);
  struct Answered {
    std::string fence;
    std::uint32_t count = 0;
  };
  // What becomes of what is held, where that is written, and what it is called.
  struct Answer {
    Destruction as;
    Task<Status> (Journal::*write)(std::vector<Journal::Release>);
    std::string_view point;
    std::string_view event;
  };
  [[nodiscard]] Task<Result<std::uint32_t>> answer(std::string fence, const Answer& answer, Answered& last);
  // Whether the accepted assignment may do what it asks for. A release is on disk when this returns.
  [[nodiscard]] Task<Result<Destruction>> fence(Assignment assignment, const SandboxActor* actor);
  [[nodiscard]] std::optional<SteadyTime> takenSince(const SandboxId& id) const {
    const auto found = takenAt_.find(id);
    return found == takenAt_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] SandboxActor* findActor(const SandboxId& id) const {
    const auto found = actors_.find(id);
    return found == actors_.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] Task<void> watchRuntime();
  [[nodiscard]] Task<void> reap(SandboxId id);
  [[nodiscard]] Task<void> watchStrangers();
  [[nodiscard]] Task<void> findStrangers();

  SandboxParts parts_;
  ObservationSink sink_;
  std::map<SandboxId, std::unique_ptr<SandboxActor>> actors_;
  std::map<SandboxId, std::uint64_t> finished_;  // deleted and forgotten since the link is up: in which generation
  std::set<SandboxId> arriving_;                 // taken on at this moment; nothing else is decided of it meanwhile
  std::set<SandboxId> strangers_;  // containers of this host, seen at the last look, that had no actor then
  bool lookedForStrangers_ = false;
  DeletionFence fence_;
  std::map<SandboxId, SteadyTime> takenAt_;  // those that came since the start
  std::map<SandboxId, FenceAnswers> answers_;  // as in the journal
  Answered confirmed_, refused_;  // the last ones
  TaskGroup tasks_;
};

}  // namespace gs

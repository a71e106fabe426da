// The agent's channel to the guest of one container of a FakeEngine: what the guest knows is kept in the container, so it
// outlives the agent. The guest connects a moment after both are there. Loop thread only.
#pragma once

#include "fake_engine.h"

namespace gs::sim {

class FakeGuest final : public GuestChannel {
 public:
  FakeGuest(FakeEngine& engine, Simulation& simulation, Process& agent, SandboxId id);
  ~FakeGuest() override;

  [[nodiscard]] const SandboxId& id() const { return id_; }
  void lookSoon();

  void setExpectedPid(std::optional<pid_t> pid) override;
  [[nodiscard]] const GuestState& state() const override { return state_; }
  [[nodiscard]] Task<GuestState> waitChange(std::uint64_t seen, Deadline deadline) override;
  [[nodiscard]] Task<Status> waitConnected(Deadline deadline) override;
  [[nodiscard]] Task<Result<WorkloadState>> openGate(GateSpec spec, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> startExec(ProcessSpec spec, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::shared_ptr<GuestConnection>>> startFiles(Deadline deadline) override;
  [[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> attachSession(AttachSpec spec, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::vector<SessionSummary>>> listSessions(Deadline deadline) override;
  [[nodiscard]] Task<Status> endSession(std::string id, SessionClaim claim, Deadline deadline) override;
  [[nodiscard]] Task<Status> stopWorkload(Millis grace) override;
  [[nodiscard]] Task<Result<ProcessExit>> waitWorkloadExit(Deadline deadline) override;
  [[nodiscard]] Task<Result<std::chrono::microseconds>> ping(Deadline deadline) override;
  [[nodiscard]] Task<void> close() override;

 private:
  [[nodiscard]] const FakeContainer* container() const;
  void look();

  FakeEngine& engine_;
  Simulation& simulation_;
  Process& agent_;
  SandboxId id_;
  std::optional<pid_t> expected_;
  GuestState state_;
  Event changed_;
  bool closed_ = false;
  std::shared_ptr<bool> here_ = std::make_shared<bool>(true);
};

}  // namespace gs::sim

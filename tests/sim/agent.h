// One host: the real supervisor, journal and control link, on a disk, an engine and a network that the simulation owns.
//
// What AgentDaemon does between the parts is done here in the same order. The journal's database and the engine outlive
// the agent's deaths. Loop thread only.
#pragma once

#include "agent/link/control_link.h"
#include "agent_parts.h"
#include "fake_engine.h"
#include "network.h"

namespace gs::sim {

class SimServer;

class SimAgent final : public Process, private LinkDelegate, private BlueprintProvider {
 public:
  SimAgent(Simulation& simulation, Ledger& ledger, Network& network, SimServer& server, std::size_t index, DeletionFenceLimits fence);

  HostId hostId;
  FakeEngine engine;
  HostClock clock;
  Disk disk;

  // The host restarts: its containers end and the agent dies.
  void reboot();
  // It dies, and a row of its journal is torn when it comes back.
  void tearARow();
  // Nothing when it is not up.
  [[nodiscard]] Supervisor* supervisor() { return alive() && recovered_ ? supervisor_.get() : nullptr; }
  [[nodiscard]] std::optional<AgentSandboxRecord> held(const SandboxId& id) const;
  // Destructions that wait for a confirmation; nothing: it is not up.
  [[nodiscard]] std::vector<HeldDestruction> heldDestructions() const;
  // A person confirms them, on the host or by way of the control plane.
  void confirmationAsked(const std::vector<HeldDestruction>& all);
  [[nodiscard]] Task<void> confirmLocally();
  // For how long the control plane has been out of reach, at least: by the time, not by what the agent remembers of it. A
  // link that does not last a moment ends nothing.
  [[nodiscard]] Millis outOfReachFor() const;
  void clockJumps(Millis by);
  [[nodiscard]] bool linked() const { return alive() && link_ && link_->connected(); }

 protected:
  [[nodiscard]] Task<Status> start() override;
  [[nodiscard]] Task<void> unwind() override;
  void died() override;

 private:
  [[nodiscard]] HostFacts facts() override;
  [[nodiscard]] HostTelemetry telemetry() override { return {}; }
  [[nodiscard]] std::vector<AssignmentVersion> versions() override { return supervisor_->versions(); }
  [[nodiscard]] std::vector<Observation> unacknowledged() override;
  [[nodiscard]] Task<AssignmentAck> assign(Assignment assignment) override;
  void acknowledge(const SandboxId& id, std::uint64_t sequence) override { supervisor_->acknowledge(id, sequence); }
  void openChannels(std::vector<SecretString>) override {}
  [[nodiscard]] std::optional<HeldSandbox> findHeld(const SandboxId& id) override;
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDeletions(std::string fence) override { return supervisor_->confirmDestructions(std::move(fence)); }
  void linkUp(std::uint64_t epoch) override;
  void linkDown() override;
  void identityRenewed(const HostIdentity&) override {}
  [[nodiscard]] Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline deadline) override;

  void told(const Observation& observation);
  [[nodiscard]] Task<void> rememberEpoch(std::uint64_t epoch);
  void reachEnds();
  void forgetReach();
  [[nodiscard]] Millis lasted(std::int64_t since) const { return Millis((simulation_.machine.nanoseconds() - since) / 1'000'000); }
  [[nodiscard]] Task<void> tear();
  void checkFence(std::string_view when);
  void noteDestruction(const Assignment& assignment, bool anew, std::int64_t asked, std::optional<std::int64_t> since);
  void checkHeldAgain();
  [[nodiscard]] std::uint64_t letGoBefore(const SandboxId& id);
  [[nodiscard]] bool mayDestroy(const SandboxId& id, std::uint64_t containerGeneration) const;

  Ledger& ledger_;
  Network& network_;
  SimServer& server_;
  std::size_t index_;
  int boots_ = 1;
  std::uint64_t lastEpoch_ = 0;
  bool recovered_ = false;
  bool torn_ = false;
  std::shared_ptr<Database> file_;
  DatabaseThread database_;
  Journal journal_;
  std::optional<std::int64_t> linkedSince_;
  std::int64_t settledLast_ = 0;  // when a link had lasted for some time, and
  std::int64_t reachedLast_ = 0;  // when it ended
  std::int64_t reachedKnown_ = 0;  // the same, as far as an agent could know that died
  Millis jumped_{0};              // its clock, forward: over a reboot of the host nothing else tells the time
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<LinkWatch> linkWatch_;
  std::unique_ptr<ControlLink> link_;
  std::unique_ptr<TaskGroup> tasks_;
  // The mass-deletion fence, as it must be seen from outside.
  DeletionFenceLimits fence_;
  std::map<SandboxId, std::uint64_t> heldBack_;  // told to be held, and not confirmed: the destruction's generation
  std::map<SandboxId, std::uint64_t> allowed_;   // the newest destruction that was not held, or was confirmed
  std::map<SandboxId, std::int64_t> takenAt_;    // in this life
  std::vector<std::int64_t> letThrough_;         // in this life: when they were asked for, at the earliest
  std::set<SandboxId> hosted_;                   // in this life
  std::map<SandboxId, std::uint64_t> accepted_;  // newest generation that this host said it has
};

}  // namespace gs::sim

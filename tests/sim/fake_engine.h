// A container engine and the guests in its containers: keeps what the real ones keep, and answers as badly as they can.
//
// A request that was made is done after a moment, whether its caller lives on or not. While things go wrong a call may be
// refused, done without an answer, or hang until its deadline; the engine may be down, and may take its containers along.
// Checks at each effect that somebody had the right to it. Loop thread only.
#pragma once

#include <map>

#include "agent_parts.h"
#include "async/channel.h"
#include "ledger.h"

namespace gs::sim {

class FakeGuest;

// How the container got to its last end.
enum class EndedBy : std::uint8_t { kNothing, kAgent, kItself, kEngine };

struct FakeContainer {
  RuntimeContainer seen;  // what inspect answers
  bool gateOpen = false;
  WorkloadState workload;
  EndedBy endedBy = EndedBy::kNothing;
  std::uint64_t runGeneration = 0;  // in whose name the last run was started
  unsigned restarts = 0;            // of runs that had ended by themselves, in that generation
  int startedIn = 0;                // the engine's life in which it was started
  bool stopAsked = false;           // and it may not be known whether that was done
  bool gateTimedOut = false;        // its guest was not there in time
  Millis stopAfter{0};              // without a control plane; 0: never
  bool disconnectStop = false;      // it was stopped because the control plane was out of reach
  bool endBegun = false;            // somebody with the right to it told the workload to end
  bool guestDied = false;           // and may have taken the word of its workload's end along
};

class FakeEngine final : public Runtime {
 public:
  // What is asked of the agent.
  struct Host {
    std::function<std::optional<AgentSandboxRecord>(const SandboxId&)> held;  // what it has on record; nothing: no such record
    std::function<Millis()> outOfReachFor;                                    // the control plane, by the time
    // A destruction that is newer than the container is wanted, and is not held.
    std::function<bool(const SandboxId&, std::uint64_t containerGeneration)> mayDestroy;
  };
  FakeEngine(Simulation& simulation, Ledger& ledger, Process& agent, Host host);

  // What an engine may do for a while.
  enum class Outage : std::uint8_t {
    kHangs,        // it is there and answers nothing
    kLiveRestore,  // it is restarted, its containers go on
    kStops,        // it ends its containers in order, still answering, and then itself
    kKilled        // its containers go on until the next life ends them
  };
  void goDown(Outage how);
  void comeUp();
  // The host restarts, and the engine with it.
  void reboot();
  [[nodiscard]] bool isUp() const { return up_; }
  [[nodiscard]] const std::map<SandboxId, FakeContainer>& containers() const { return containers_; }
  // The agent has forgotten what it knew of it.
  void recordTorn(const SandboxId& id);
  // Somebody removes a random container behind the agent's back.
  void loseOne();
  // A random container's guest dies.
  void killOne();
  // The agent's end of a guest's socket.
  [[nodiscard]] std::unique_ptr<GuestChannel> openGuestChannel(const SandboxId& id);

  [[nodiscard]] std::string_view name() const override { return "docker"; }
  [[nodiscard]] Result<std::string> instance() const override;
  [[nodiscard]] Task<RuntimeReport> health(Deadline deadline) override;
  [[nodiscard]] Task<Status> create(ContainerPlan plan, Deadline deadline) override;
  [[nodiscard]] Task<Status> start(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Status> stop(SandboxId id, Millis grace, Deadline deadline) override;
  [[nodiscard]] Task<Status> remove(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::optional<RuntimeContainer>>> inspect(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::vector<RuntimeContainer>>> list(HostId host, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::unique_ptr<RuntimeWatch>>> watch(HostId host, Deadline deadline) override;

 private:
  friend class FakeGuest;
  struct Watcher {
    explicit Watcher(const Executor& executor) : events(executor, 1000) {}
    Channel<SandboxId> events;
  };
  struct Watch;

  template <class R>
  [[nodiscard]] Task<Result<R>> call(std::string what, SandboxId id, Deadline deadline, std::function<Result<R>()> effect);
  [[nodiscard]] Status doCreate(const ContainerPlan& plan);
  // With the policy of a sandbox whose last run was over when the start was asked for.
  [[nodiscard]] Status doStart(const SandboxId& id, std::uint64_t runGeneration, std::optional<RestartPolicy> afterEnd);
  void checkRestart(FakeContainer& container, std::uint64_t runGeneration, const RestartPolicy& policy);
  void endAll();
  void down();
  // Whether the agent may end its run now, whatever the newest wish is: it failed, is wanted ended, or the control plane
  // has been out of reach for long enough.
  [[nodiscard]] bool mayEnd(const SandboxId& id);
  void lookAtReach(FakeContainer& container);
  // A guest's workload is told to end.
  void workloadStopAsked(const SandboxId& id);
  [[nodiscard]] bool isWanted(const FakeContainer& container, bool mayEnd);
  [[nodiscard]] Status doStop(const SandboxId& id, bool mayEnd, int askedOf);
  [[nodiscard]] Status doRemove(const SandboxId& id, const std::string& asked);
  void end(FakeContainer& container, int code, EndedBy by);
  void openGate(const SandboxId& id, int pid, bool workload);
  void endWorkload(const SandboxId& id, int pid, ProcessExit exit);
  void changed(const SandboxId& id);

  Simulation& simulation_;
  Ledger& ledger_;
  Process& agent_;
  Host host_;
  std::map<SandboxId, FakeContainer> containers_;
  std::map<SandboxId, std::uint64_t> endsUsed_;  // generations whose wish for an end was carried out
  std::vector<FakeGuest*> guests_;  // in order of creation
  std::vector<std::weak_ptr<Watcher>> watchers_;
  bool up_ = true;
  bool stopping_ = false;  // still answers, and will be gone
  Outage outage_ = Outage::kHangs;
  std::vector<std::shared_ptr<std::function<void()>>> stuck_;  // requests to an engine that hangs; it does them later
  int nextPid_ = 100;
  int life_ = 1;  // of the engine: a request that was under way when it ended is not done by the next
};

}  // namespace gs::sim

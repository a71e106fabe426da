// The control plane: the real store, gateway hub and sandbox service; its listeners are replaced by dial() and by calls.
//
// The database outlives the server's deaths. What ServerDaemon does between the parts is done here in the same order.
// Loop thread only.
#pragma once

#include "ledger.h"
#include "network.h"
#include "server/gateway/gateway_hub.h"
#include "server/hosts/host_service.h"
#include "server/sandboxes/deadline_keeper.h"
#include "server/sandboxes/sandbox_service.h"
#include "server/sandboxes/waiting_room.h"
#include "server/store/sql_store.h"

namespace gs::sim {

class SimServer final : public Process {
 public:
  SimServer(Simulation& simulation, Ledger& ledger, Network& network);

  HostClock clock;
  Disk disk;
  Actor admin;

  // A tenant, a blueprint and the hosts. Before anything is started.
  [[nodiscard]] Task<Status> furnish(std::vector<HostId> hosts);

  // As an agent's TCP, TLS and HTTP: kUnavailable when nobody is there, kDeadlineExceeded when nothing gets through.
  [[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> dial(std::size_t index, Process& agent, HostId host, Deadline deadline);

  // One HTTP request of the user. The answer may be lost, and what it asked for be done or not: kUnavailable.
  using Request = std::function<Task<Result<SandboxRecord>>(SandboxService&)>;
  [[nodiscard]] Task<Result<SandboxRecord>> request(Request what);

  // An operator at work on one host; success: it was done, as far as it could be, and was answered.
  [[nodiscard]] Task<void> confirm(HostId host, std::string fence);
  [[nodiscard]] Task<void> adoptSome(HostId host, unsigned perMille);
  // A user has a session to it for that long, or until the server dies.
  void visit(SandboxId id, std::string name, Millis time);
  [[nodiscard]] bool inUse(const SandboxId& id) const { return inUse_.contains(id); }
  void clockJumps(Millis by);

  [[nodiscard]] bool hears(const HostId& host) const { return alive() && hub_ && hub_->isConnected(host); }
  // An operator copies the database; and, another day, puts the copy in its place. Nothing without a copy.
  [[nodiscard]] Task<void> copyDatabase();
  void restoreCopy();
  // Reads the database past the disk and shows it to the ledger.
  [[nodiscard]] Task<std::vector<SandboxRecord>> look();

 protected:
  [[nodiscard]] Task<Status> start() override;
  [[nodiscard]] Task<void> unwind() override;
  void died() override;

 private:
  struct Reply {
    explicit Reply(const Executor& executor) : changed(executor) {}
    Event changed;
    std::optional<Result<SandboxRecord>> result;
  };
  [[nodiscard]] Task<void> operate(Task<void> work);
  [[nodiscard]] Task<void> confirming(HostId host, std::string fence);
  [[nodiscard]] Task<void> adopting(HostId host, unsigned perMille);
  [[nodiscard]] Task<void> session(SandboxId id, std::string name, Millis time);
  [[nodiscard]] std::optional<Ledger::Wisher> wisherOf(const SandboxId& id, std::uint64_t generation);
  void open(std::shared_ptr<Database> database);
  [[nodiscard]] Task<void> serve(Request what, std::shared_ptr<Reply> reply);

  Ledger& ledger_;
  Network& network_;
  [[nodiscard]] SqlStore& store() { return *stores_.back(); }

  // The last one counts; whoever still looks into an earlier one may do so.
  std::vector<std::unique_ptr<SqlStore>> stores_;
  std::shared_ptr<Database> database_;  // of the last store
  std::map<SandboxId, int> inUse_;
  std::optional<std::string> copy_;
  bool toBeRestored_ = false;
  std::uint64_t lookedAt_ = ~0ULL;
  std::vector<SandboxRecord> looked_;
  std::vector<HostId> hosts_;
  std::unique_ptr<SandboxEvents> events_;
  std::unique_ptr<BlobCredentials> credentials_;
  std::unique_ptr<GatewayHub> hub_;
  std::unique_ptr<SandboxService> sandboxes_;
  std::unique_ptr<HostService> hostService_;
  std::unique_ptr<WaitingRoom> waiting_;
  std::unique_ptr<DeadlineKeeper> deadlines_;
  std::unique_ptr<TaskGroup> connections_;
};

}  // namespace gs::sim

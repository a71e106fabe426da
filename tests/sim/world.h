// A control plane, a few hosts, users and everything that can happen to them, from one seed to a verdict.
//
// First all is well until every host is connected; then users work while things go wrong; then everything is healed, and
// within a minute every link must be up, and soon after every sandbox be as it is wanted. Which kinds of things go wrong,
// and how often, differs from seed to seed. Loop thread only.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent.h"
#include "server.h"

namespace gs::sim {

class World {
 public:
  explicit World(Simulation& simulation);
  ~World();

  // From the beginning to the end, or to the first broken rule.
  [[nodiscard]] Task<void> run();

 private:
  [[nodiscard]] Task<void> use();
  [[nodiscard]] Task<void> act();
  [[nodiscard]] Task<void> createOne();
  [[nodiscard]] Task<void> changeOne(SandboxId id);
  void visitOne();
  [[nodiscard]] Task<void> changeLifetime(SandboxId id);
  // Each part with that chance in a thousand.
  [[nodiscard]] SandboxService::LifetimeWish someLifetime(unsigned perMille);
  [[nodiscard]] std::string nameOf(const SandboxId& id) const;
  // Confirms what hosts hold and adopts what the database does not know, now and then; and when all is healed, always.
  [[nodiscard]] Task<void> operators();
  [[nodiscard]] Task<void> confirmAt(SimAgent& agent);
  [[nodiscard]] Task<void> freshRoot(SandboxId id);
  [[nodiscard]] Task<void> deleteAll();
  [[nodiscard]] Task<void> troubles();
  void trouble();
  void heal();
  [[nodiscard]] Task<void> observe();
  [[nodiscard]] Task<void> lookOnce();
  [[nodiscard]] Task<void> waitForLinks(std::string rule);
  [[nodiscard]] Task<void> waitForPeace();
  [[nodiscard]] Task<void> partitionInPeace();
  // What is not as it must be in the end; empty: nothing.
  [[nodiscard]] std::string discord() const;
  [[nodiscard]] std::string discordOf(const SandboxRecord& record) const;
  [[nodiscard]] const SimAgent* agentOf(const HostId& host) const;
  [[nodiscard]] SimAgent& someAgent() { return *agents_[simulation_.random.below(agents_.size())]; }
  [[nodiscard]] bool going() const { return simulation_.violation().empty(); }

  Simulation& simulation_;
  Ledger ledger_;
  Network network_;
  SimServer server_;
  std::vector<std::unique_ptr<SimAgent>> agents_;
  std::vector<SandboxRecord> records_;  // of the last look
  std::set<SandboxId> busy_;            // a user waits for an answer about it
  std::uint64_t kinds_;                 // of troubles, one bit each
  bool mayRestore_ = false;
  int made_ = 0;
  TaskGroup processes_;
  TaskGroup work_;
};

struct Verdict {
  std::string violation;  // empty: every rule held
  std::uint64_t hash = 0;
  std::uint64_t steps = 0;  // of the loop
  std::int64_t simulatedMs = 0;
};
[[nodiscard]] Verdict simulate(std::uint64_t seed, Echo echo);

}  // namespace gs::sim

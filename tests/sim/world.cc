#include "world.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

namespace gs::sim {
namespace {

constexpr std::size_t kMostHosts = 3;
// Of 1,000 seeds, those with a hostile proxy, and those in which an older copy of the server's database comes back.
constexpr unsigned kHostile = 200;
constexpr unsigned kRestored = 60;
constexpr unsigned kSmallFence = 400;
constexpr unsigned kCalmPartition = 100;
constexpr std::uint64_t kMostSteps = 3'000'000;

enum Trouble : unsigned { kAgentDies, kServerDies, kReboot, kEngineDown, kPartition, kOneWay, kCut, kClock, kDiskFull, kGuestDies, kTornRow, kCopy, kRestore, kContainerGone, kTroubles };

}  // namespace

World::World(Simulation& simulation)
    : simulation_(simulation),
      ledger_(simulation),
      network_(simulation, kMostHosts),
      server_(simulation, ledger_, network_),
      kinds_(simulation.random.next()),
      processes_(simulation.executor()),
      work_(simulation.executor()) {
  constexpr std::array<unsigned, 4> kClumsiness{0, 1, 1, 3};
  simulation_.clumsiness = kClumsiness[simulation_.random.below(kClumsiness.size())];
  network_.hostile = simulation_.random.chance(kHostile);
  mayRestore_ = simulation_.random.chance(kRestored);
  const auto hosts = 1 + simulation_.random.below(kMostHosts);
  // Small, so that six sandboxes are many; or so large that nothing is ever held.
  DeletionFenceLimits fence;
  if (simulation_.random.chance(kSmallFence)) fence = {40, 2, Millis(4'000)};
  for (std::size_t i = 0; i < hosts; ++i) agents_.push_back(std::make_unique<SimAgent>(simulation_, ledger_, network_, server_, i, fence));
}
World::~World() = default;

const SimAgent* World::agentOf(const HostId& host) const {
  for (const auto& agent : agents_) {
    if (agent->hostId == host) return agent.get();
  }
  return nullptr;
}

Task<void> World::run() {
  std::vector<HostId> hosts;
  for (const auto& agent : agents_) hosts.push_back(agent->hostId);
  if (const auto furnished = co_await server_.furnish(hosts); !furnished) {
    simulation_.violate("start", furnished.error().describe());
    co_return;
  }
  processes_.spawn("server", server_.keep());
  for (const auto& agent : agents_) processes_.spawn(agent->name(), agent->keep());
  co_await waitForLinks("start");
  work_.spawn("observer", observe());
  simulation_.faulty = true;
  TaskGroup users(simulation_.executor());
  for (int i = 0; i < 2; ++i) users.spawn("user", use());
  users.spawn("troubles", troubles());
  work_.spawn("operators", operators());
  co_await users.join();
  heal();
  if (going()) co_await waitForLinks("liveness");
  if (going()) co_await waitForPeace();
  if (going() && !ledger_.restored() && simulation_.random.chance(kCalmPartition)) co_await partitionInPeace();
  co_await work_.cancelAndJoin();
  simulation_.over = true;
  simulation_.faulty = false;
  simulation_.changed.notifyAll();
  co_await processes_.join();
}

Task<void> World::troubles() {
  const auto end = Deadline::after(simulation_.random.between(Millis(5'000), Millis(25'000)));
  while (!end.expired() && going()) {
    co_await sleepFor(simulation_.random.between(Millis(50), Millis(4'000)));
    trouble();
  }
}

void World::trouble() {
  const auto kind = static_cast<unsigned>(simulation_.random.below(kTroubles));
  if ((kinds_ >> kind & 1U) == 0) return;
  auto& agent = someAgent();
  const auto index = static_cast<std::size_t>(std::ranges::find_if(agents_, [&](const auto& a) { return a.get() == &agent; }) - agents_.begin());
  const Millis time = simulation_.random.between(Millis(100), Millis(12'000));
  switch (static_cast<Trouble>(kind)) {
    case kAgentDies: return agent.die("any moment");
    case kServerDies: return server_.die("any moment");
    case kReboot: return agent.reboot();
    case kEngineDown: {
      agent.engine.goDown(static_cast<FakeEngine::Outage>(simulation_.random.below(4)));
      return simulation_.after(time, [&agent] { agent.engine.comeUp(); });
    }
    case kPartition:
    case kOneWay: {
      simulation_.trace("net host{} blocked", index);
      const auto way = simulation_.random.chance(500) ? Way::kUp : Way::kDown;
      network_.block(index, way, true);
      if (kind == kPartition) network_.block(index, way == Way::kUp ? Way::kDown : Way::kUp, true);
      return simulation_.after(time, [this, index] {
        if (!simulation_.faulty) return;
        network_.block(index, Way::kUp, false);
        network_.block(index, Way::kDown, false);
      });
    }
    case kCut: {
      const auto how = static_cast<Network::Cut>(simulation_.random.below(3));
      simulation_.trace("net host{} cut {}", index, static_cast<int>(how));
      return network_.cut(index, how);
    }
    case kClock: {
      const bool ofServer = !simulation_.random.chance(700);
      const auto by = simulation_.random.between(Millis(-3'600'000), Millis(3'600'000));
      simulation_.trace("{} clock jumps", ofServer ? "server" : agent.name());
      return ofServer ? server_.clockJumps(by) : agent.clockJumps(by);
    }
    case kDiskFull: {
      Disk& disk = simulation_.random.chance(700) ? agent.disk : server_.disk;
      disk.setFull(true);
      simulation_.trace("{} disk full", &disk == &server_.disk ? "server" : agent.name());
      return simulation_.after(time / 3, [&disk] { disk.setFull(false); });
    }
    case kGuestDies: return agent.engine.killOne();
    case kTornRow: return agent.tearARow();
    case kCopy: return work_.spawn("copy", server_.copyDatabase());
    case kRestore:
      if (mayRestore_) server_.restoreCopy();
      return;
    case kContainerGone: return agent.engine.loseOne();
    case kTroubles: return;
  }
}

void World::heal() {
  simulation_.trace("all is healed");
  simulation_.faulty = false;
  network_.healAll();
  // What a hostile proxy has kept to itself is only found out when it is gone, and its connections with it.
  if (network_.hostile) {
    for (std::size_t i = 0; i < agents_.size(); ++i) network_.cut(i, Network::Cut::kBoth);
  }
  server_.disk.setFull(false);
  for (const auto& agent : agents_) {
    agent->disk.setFull(false);
    agent->engine.comeUp();
  }
}

Task<void> World::observe() {
  while (going()) {
    co_await lookOnce();
    co_await sleepFor(Millis(400));
  }
}

Task<void> World::lookOnce() {
  records_ = co_await server_.look();
  for (const auto& record : records_) {
    for (const auto& agent : agents_) {
      if (agent->hostId != record.hostId && agent->engine.containers().contains(record.id)) {
        simulation_.violate("one host", fmt::format("{} lives on {} and has a container elsewhere", record.id, record.hostId));
      }
    }
  }
}

Verdict simulate(std::uint64_t seed, Echo echo) {
  Verdict verdict;
  Simulation simulation(seed, echo);
  {
    World world(simulation);
    bool ended = false;
    asio::co_spawn(simulation.loop, world.run(), [&](const std::exception_ptr& failure) {
      ended = true;
      if (!failure) return;
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& e) {
        simulation.violate("exception", e.what());
      }
    });
    while (!ended) {
      if (++verdict.steps > kMostSteps) {
        fmt::print("seed {}: the loop is busy for ever\n", seed);
        std::abort();
      }
      simulation.loop.run_one();
    }
    // What is still on its way arrives nowhere; it goes before the world that it would arrive in.
    simulation.over = true;
    const auto end = simulation.machine.nanoseconds() + 120'000'000'000;
    while (simulation.machine.nanoseconds() < end && simulation.loop.run_one() != 0) {
    }
  }
  verdict.violation = simulation.violation();
  verdict.hash = simulation.machine.hash();
  verdict.simulatedMs = simulation.machine.nanoseconds() / 1'000'000 - 1'000'000;
  return verdict;
}

}  // namespace gs::sim

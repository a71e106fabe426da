#include "world.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "server/core/sandbox_view.h"

namespace gs::sim {
namespace {

constexpr std::size_t kMostHosts = 3;
constexpr std::size_t kMostSandboxes = 6;
constexpr Millis kLinkTime{60'000};
// A call that hung when all was healed ends after a minute, and a lost word is looked for after another.
constexpr Millis kPeaceTime{300'000};
// Of 1,000 seeds, those with a hostile proxy, and those in which an older copy of the server's database comes back.
constexpr unsigned kHostile = 200;
constexpr unsigned kRestored = 60;
constexpr std::uint64_t kMostSteps = 3'000'000;

enum Trouble : unsigned { kAgentDies, kServerDies, kReboot, kEngineDown, kPartition, kOneWay, kCut, kClock, kDiskFull, kGuestDies, kTornRow, kCopy, kRestore, kTroubles };

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
  for (std::size_t i = 0; i < hosts; ++i) agents_.push_back(std::make_unique<SimAgent>(simulation_, ledger_, network_, server_, i));
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
  co_await users.join();
  heal();
  if (going()) co_await waitForLinks("liveness");
  if (going()) co_await waitForPeace();
  co_await work_.cancelAndJoin();
  simulation_.over = true;
  simulation_.faulty = false;
  simulation_.changed.notifyAll();
  co_await processes_.join();
}

Task<void> World::use() {
  const auto end = Deadline::after(simulation_.random.between(Millis(5'000), Millis(25'000)));
  while (!end.expired() && going()) {
    co_await sleepFor(simulation_.random.between(Millis(20), Millis(1'500)));
    co_await act();
  }
}

Task<void> World::act() {
  std::vector<SandboxId> free;
  for (const auto& record : records_) {
    if (!busy_.contains(record.id)) free.push_back(record.id);
  }
  if (free.empty() || (records_.size() < kMostSandboxes && simulation_.random.chance(350))) co_return co_await createOne();
  const auto id = free[simulation_.random.below(free.size())];
  busy_.insert(id);
  co_await changeOne(id);
  busy_.erase(id);
}

Task<void> World::createOne() {
  SandboxWish wish;
  wish.name = fmt::format("box-{}", ++made_);
  wish.blueprint = "debian";
  if (simulation_.random.chance(800)) wish.command = {"work"};
  constexpr std::array kPolicies{RestartMode::kNever, RestartMode::kNever, RestartMode::kOnFailure, RestartMode::kAlways};
  wish.restart = {kPolicies[simulation_.random.below(kPolicies.size())], 0};
  if (wish.restart.mode != RestartMode::kNever) wish.restart.maxRestarts = static_cast<std::uint32_t>(simulation_.random.below(4));
  const auto made = co_await server_.request([this, wish](SandboxService& service) { return service.create(server_.admin, wish); });
  simulation_.trace("user creates {}: {}", wish.name, made ? made->id.text() : made.error().message);
  if (made) ledger_.creationAnswered(made->id);
}

Task<void> World::changeOne(SandboxId id) {
  const auto dice = simulation_.random.below(100);
  const auto desired = dice < 40 ? DesiredState::kStopped : dice < 75 ? DesiredState::kRunning : DesiredState::kDeleted;
  const Millis grace = simulation_.random.between(Millis(0), Millis(4'000));
  ledger_.wishAsked(id);
  if (desired == DesiredState::kDeleted) ledger_.deletionAsked(id);
  simulation_.trace("user wants {} {}", id, desiredStateName(desired));
  const auto done = co_await server_.request([this, id, desired, grace](SandboxService& service) {
    if (desired == DesiredState::kDeleted) return service.remove(server_.admin, id);
    return desired == DesiredState::kStopped ? service.stop(server_.admin, id, grace) : service.start(server_.admin, id);
  });
  simulation_.trace("user is answered {} {}: {}", id, desiredStateName(desired), done ? "done" : done.error().message);
  if (done) ledger_.wishAnswered(id, desired);
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
      HostClock& clock = simulation_.random.chance(700) ? agent.clock : server_.clock;
      clock.shift += simulation_.random.between(Millis(-3'600'000), Millis(3'600'000));
      return simulation_.trace("{} clock jumps", &clock == &server_.clock ? "server" : agent.name());
    }
    case kDiskFull: {
      Disk& disk = simulation_.random.chance(700) ? agent.disk : server_.disk;
      disk.full = true;
      simulation_.trace("{} disk full", &disk == &server_.disk ? "server" : agent.name());
      return simulation_.after(time / 3, [&disk] { disk.full = false; });
    }
    case kGuestDies: return agent.engine.killOne();
    case kTornRow: return agent.tearARow();
    case kCopy: return work_.spawn("copy", server_.copyDatabase());
    case kRestore:
      if (mayRestore_) server_.restoreCopy();
      return;
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
  server_.disk.full = false;
  for (const auto& agent : agents_) {
    agent->disk.full = false;
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

Task<void> World::waitForLinks(std::string rule) {
  const auto deadline = Deadline::after(kLinkTime);
  const auto up = [this] {
    return std::ranges::all_of(agents_, [&](const auto& a) { return a->linked() && server_.hears(a->hostId); });
  };
  while (!up() && !deadline.expired() && going()) co_await sleepFor(Millis(100));
  if (!up()) simulation_.violate(rule, "a minute after all was healed a host is not linked");
}

Task<void> World::waitForPeace() {
  const auto deadline = Deadline::after(kPeaceTime);
  std::string why = "not looked";
  while (going() && !deadline.expired()) {
    co_await lookOnce();
    why = discord();
    if (why.empty()) co_return;
    co_await sleepFor(Millis(300));
  }
  if (!why.empty()) simulation_.violate("liveness", why);
}

std::string World::discord() const {
  // What an older copy of the database makes of sandboxes that are newer than it is for a person to say; that nothing is
  // destroyed is checked at every effect.
  if (ledger_.restored()) return "";
  for (const auto& record : records_) {
    if (auto why = discordOf(record); !why.empty()) return why;
  }
  const auto known = [this](const SandboxId& id) { return std::ranges::any_of(records_, [&](const auto& r) { return r.id == id; }); };
  for (const auto& agent : agents_) {
    auto* const supervisor = agent->supervisor();
    if (supervisor == nullptr) return agent->name() + " is not up";
    if (!supervisor->unacknowledged().empty()) return agent->name() + " has told something that is not acknowledged";
    for (const auto& version : supervisor->versions()) {
      if (!known(version.sandboxId)) return fmt::format("{} keeps a record of {}, which is gone", agent->name(), version.sandboxId);
    }
    for (const auto& [id, container] : agent->engine.containers()) {
      // A create that was under way when its agent died may be done after the sandbox was deleted. Nobody may remove
      // what is left (rule 4), but it must not run, and the host must know of it.
      const auto strangers = supervisor->strangers();
      const bool left = !container.seen.alive() && std::ranges::find(strangers, id) != strangers.end();
      if (!known(id) && !left) return fmt::format("{} has a container of {}, which is gone", agent->name(), id);
    }
  }
  return "";
}

std::string World::discordOf(const SandboxRecord& record) const {
  const auto describe = [&](std::string_view what) {
    return fmt::format("{} is wanted {} in generation {} and is {} ({}: {}) by generation {}: {}", record.id, desiredStateName(record.desired),
                       record.generation, sandboxStateName(record.state), record.reason, record.message, record.observedGeneration, what);
  };
  const auto wish = ledger_.wishes().find(record.id);
  if (wish != ledger_.wishes().end() && wish->second.certain && *wish->second.certain != record.desired) {
    return describe("the user was told otherwise");
  }
  const auto* agent = agentOf(record.hostId);
  const auto found = agent->engine.containers().find(record.id);
  const auto* container = found == agent->engine.containers().end() ? nullptr : &found->second;
  const bool runs = container != nullptr && container->seen.alive();
  if (!isCurrent(record)) return describe("nothing was observed of what is wanted");
  switch (record.desired) {
    case DesiredState::kDeleted: return describe("it is still there");
    // No user of this world wants it yet.
    case DesiredState::kArchived: return describe("nobody asked for an archive");
    case DesiredState::kStopped: return record.state == SandboxState::kStopped && !runs ? "" : describe(runs ? "it runs" : "it is not told as stopped");
    case DesiredState::kRunning: break;
  }
  if (record.state == SandboxState::kRunning) {
    if (!runs || !container->gateOpen) return describe("it does not run");
    return container->workload.phase == WorkloadState::Phase::kExited ? describe("its workload has ended") : "";
  }
  const bool excused = wish != ledger_.wishes().end() && wish->second.excuses.contains(record.reason);
  const bool ended = record.state == SandboxState::kFailed || record.state == SandboxState::kStopped;
  if (ended && excused && !runs) return "";
  return describe(runs ? "it runs" : "it does not run");
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

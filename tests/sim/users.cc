// What the users of the world do.
#include "world.h"

namespace gs::sim {
namespace {

constexpr std::size_t kMostSandboxes = 6;
// Of 1,000.
constexpr unsigned kMindsTheLink = 250;
constexpr unsigned kHasDeadline = 200;
constexpr unsigned kVisit = 100;
constexpr unsigned kChangesLifetime = 70;
constexpr unsigned kFreshRoot = 100;
constexpr unsigned kDeletesAll = 10;
constexpr unsigned kOperatorActs = 300;
constexpr unsigned kOnTheHost = 300;

}  // namespace

std::string World::nameOf(const SandboxId& id) const {
  const auto found = std::ranges::find(records_, id, &SandboxRecord::id);
  return found == records_.end() ? "" : found->name;
}

SandboxService::LifetimeWish World::someLifetime(unsigned perMille) {
  auto& random = simulation_.random;
  SandboxService::LifetimeWish wish;
  if (random.chance(perMille)) wish.ttl = Seconds(random.chance(300) ? 0 : 2 + random.below(40));
  if (random.chance(perMille)) wish.idleStop = Seconds(random.chance(300) ? 0 : 2 + random.below(15));
  return wish;
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
  if (simulation_.random.chance(kVisit)) co_return visitOne();
  if (simulation_.random.chance(kDeletesAll)) co_return co_await deleteAll();
  busy_.insert(id);
  if (simulation_.random.chance(kFreshRoot)) {
    co_await freshRoot(id);
  } else if (simulation_.random.chance(kChangesLifetime)) {
    co_await changeLifetime(id);
  } else {
    co_await changeOne(id);
  }
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
  if (simulation_.random.chance(kMindsTheLink)) wish.stopAfterDisconnect = Seconds(3 + simulation_.random.below(10));
  const auto lifetime = someLifetime(kHasDeadline);
  if (lifetime.ttl && *lifetime.ttl != Seconds(0)) wish.ttl = lifetime.ttl;
  wish.idleStop = lifetime.idleStop.value_or(Seconds(0));
  const auto change = ledger_.deadlines.asked(wish.name, {wish.ttl.value_or(Seconds(0)), wish.idleStop});
  const auto made = co_await server_.request([this, wish](SandboxService& service) { return service.create(server_.admin, wish); });
  simulation_.trace("user creates {}: {}", wish.name, made ? made->id.text() : made.error().message);
  if (!made) co_return;
  ledger_.creationAnswered(made->id);
  ledger_.deadlines.answered(wish.name, change);
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

Task<void> World::freshRoot(SandboxId id) {
  ledger_.wishAsked(id);
  ledger_.freshRootAsked(id);
  simulation_.trace("user wants {} afresh", id);
  const auto done = co_await server_.request([this, id](SandboxService& service) {
    return service.reprovision(server_.admin, id, SandboxService::Fresh{std::nullopt, Millis(1'000), std::nullopt});
  });
  simulation_.trace("user is answered {} afresh: {}", id, done ? "done" : done.error().message);
  if (done) ledger_.wishAnswered(id, DesiredState::kRunning);
}

Task<void> World::deleteAll() {
  simulation_.trace("user deletes all");
  const auto all = records_;
  for (const auto& record : all) {
    if (busy_.contains(record.id)) continue;
    ledger_.wishAsked(record.id);
    ledger_.deletionAsked(record.id);
    const auto done =
        co_await server_.request([this, id = record.id](SandboxService& service) { return service.remove(server_.admin, id); });
    if (done) ledger_.wishAnswered(record.id, DesiredState::kDeleted);
  }
}

Task<void> World::operators() {
  while (going()) {
    co_await sleepFor(simulation_.random.between(Millis(500), Millis(4'000)));
    const bool always = !simulation_.faulty;
    for (const auto& agent : agents_) {
      if (!always && !simulation_.random.chance(kOperatorActs)) continue;
      if (!agent->heldDestructions().empty()) co_await confirmAt(*agent);
      if (ledger_.restored()) co_await server_.adoptSome(agent->hostId, always ? 1000 : kOperatorActs);
    }
  }
}

Task<void> World::confirmAt(SimAgent& agent) {
  simulation_.trace("operator confirms at {}", agent.name());
  if (simulation_.random.chance(kOnTheHost)) co_return co_await agent.confirmLocally();
  const auto all = agent.heldDestructions();
  agent.confirmationAsked(all);
  co_await server_.confirm(agent.hostId, fenceId(all));
}

// Those that are stopped when nobody uses them come first.
void World::visitOne() {
  std::vector<const SandboxRecord*> all;
  for (const auto& record : records_) {
    if (record.idleStop != Seconds(0)) all.push_back(&record);
  }
  if (all.empty()) {
    for (const auto& record : records_) all.push_back(&record);
  }
  const auto& chosen = *all[simulation_.random.below(all.size())];
  server_.visit(chosen.id, chosen.name, simulation_.random.between(Millis(500), Millis(40'000)));
}

Task<void> World::changeLifetime(SandboxId id) {
  const auto name = nameOf(id);
  const auto wish = someLifetime(700);
  const auto seconds = [](const std::optional<Seconds>& s) { return s ? fmt::format("{} s", s->count()) : std::string("as before"); };
  simulation_.trace("user wants {} to live {} and to be idle for {}", id, seconds(wish.ttl), seconds(wish.idleStop));
  const auto change = ledger_.deadlines.asked(name, {wish.ttl, wish.idleStop});
  const auto done = co_await server_.request([this, id, wish](SandboxService& service) { return service.setLifetime(server_.admin, id, wish); });
  simulation_.trace("user is answered {}: {}", id, done ? "done" : done.error().message);
  if (done) ledger_.deadlines.answered(name, change);
}

}  // namespace gs::sim

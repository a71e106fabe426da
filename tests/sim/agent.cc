#include "agent.h"

#include <charconv>

#include "databases.h"
#include "server.h"

namespace gs::sim {
namespace {

constexpr const char* kEpochKey = "link_epoch";
// When a link has lasted for so long, the agent knows for ever that it was there: it has had time to write that down.
constexpr Millis kLinkSettles{2'000};
constexpr Millis kWritten{4'000};
// One that went and was told of again is two of the host's for a while.
constexpr std::size_t kGoneAndBack = 2;
// What was begun before that is finished.
constexpr Millis kBegun{2'000};

std::shared_ptr<Database> journalDatabase() {
  static DatabasePool pool(std::vector<Migration>(std::begin(kJournalMigrations), std::end(kJournalMigrations)));
  return pool.lend();
}

}  // namespace

SimAgent::SimAgent(Simulation& simulation, Ledger& ledger, Network& network, SimServer& server, std::size_t index, DeletionFenceLimits fence)
    : Process(simulation, fmt::format("host{}", index)),
      hostId(HostId::make()),
      engine(simulation, ledger, *this, {[this](const SandboxId& id) { return held(id); }, [this] { return outOfReachFor(); },
              [this](const SandboxId& id, std::uint64_t generation) { return mayDestroy(id, generation); }}),
      disk(simulation, *this),
      ledger_(ledger),
      network_(network),
      server_(server),
      index_(index),
      file_(journalDatabase()),
      database_(file_, disk),
      journal_(database_),
      reachedLast_(simulation.machine.nanoseconds()),
      reachedKnown_(reachedLast_),
      fence_(fence) {}

std::optional<AgentSandboxRecord> SimAgent::held(const SandboxId& id) const {
  const auto* record = supervisor_ ? supervisor_->find(id) : nullptr;
  return record == nullptr ? std::nullopt : std::optional(*record);
}

Task<Status> SimAgent::start() {
  recovered_ = false;
  if (std::exchange(torn_, false)) co_await tear();
  tasks_ = std::make_unique<TaskGroup>(simulation_.executor());
  GS_CO_TRY(const auto epoch, co_await journal_.readValue(kEpochKey));
  lastEpoch_ = 0;
  std::from_chars(epoch.data(), epoch.data() + epoch.size(), lastEpoch_);
  SandboxParts parts{simulation_.executor(),
                     journal_,
                     engine,
                     static_cast<BlueprintProvider&>(*this),
                     [this](const SandboxId& id) -> Result<std::unique_ptr<GuestChannel>> { return engine.openGuestChannel(id); },
                     clock,
                     AgentPaths("/nonexistent", "/nonexistent"),
                     hostId,
                     fmt::format("boot-{}", boots_),
                     "/guest"};
  parts.fence = fence_;
  parts.linkDownFor = [this] { return linkWatch_->downFor(); };
  supervisor_ = std::make_unique<Supervisor>(std::move(parts), [this](const Observation& o) { told(o); });
  linkWatch_ = std::make_unique<LinkWatch>(simulation_.executor(), journal_, clock, fmt::format("boot-{}", boots_),
                                           LinkWatch::Sandboxes{[this] { return supervisor_->mindsTheLink(); }, [this] { supervisor_->linkChanged(); }});
  GS_CO_CHECK(co_await linkWatch_->recover());
  GS_CO_CHECK(co_await supervisor_->recover());
  linkWatch_->begin();
  recovered_ = true;
  checkFence("after a restart");
  checkHeldAgain();
  HostIdentity identity;
  identity.hostId = hostId;
  const auto dial = [this](Executor, HostIdentity, Deadline deadline) { return server_.dial(index_, *this, hostId, deadline); };
  link_ = std::make_unique<ControlLink>(simulation_.executor(), std::move(identity), lastEpoch_, static_cast<LinkDelegate&>(*this), dial);
  link_->start();
  co_return Status();
}

Task<void> SimAgent::unwind() {
  if (link_) co_await link_->stop();
  if (tasks_) co_await tasks_->cancelAndJoin();
  if (linkWatch_) co_await linkWatch_->stop();
  if (supervisor_) co_await supervisor_->stop();
  link_.reset();
  linkWatch_.reset();
  tasks_.reset();
  supervisor_.reset();
}

void SimAgent::tearARow() {
  torn_ = true;
  die("its disk");
}

// Whoever had that record must find everything out anew, and knows less of what has ended before.
Task<void> SimAgent::tear() {
  disk.observeNext();
  const auto ids = co_await database_.run([](Database& db) -> Result<std::vector<std::string>> {
    std::vector<std::string> all;
    GS_CHECK(db.query("SELECT sandbox_id FROM sandbox ORDER BY sandbox_id", {}, [&](const Row& row) { all.push_back(row.text(0)); }));
    return all;
  });
  if (!ids || ids->empty()) co_return;
  const auto id = (*ids)[simulation_.random.below(ids->size())];
  simulation_.trace("{} finds the row of {} torn", name(), id);
  disk.observeNext();
  [[maybe_unused]] const auto done = co_await database_.run([id](Database& db) -> Status {
    GS_CHECK(db.execute("UPDATE sandbox SET intent = 'sto' WHERE sandbox_id = $1", {id}));
    return {};
  });
  const auto sandbox = SandboxId::trusted(id);
  accepted_.erase(sandbox);
  heldBack_.erase(sandbox);
  ledger_.recordTorn(name(), sandbox);
  engine.recordTorn(sandbox);
}

void SimAgent::died() {
  recovered_ = false;
  reachEnds();
  forgetReach();
  network_.processDied(*this);
}

void SimAgent::reboot() {
  simulation_.trace("{} reboots", name());
  ++boots_;
  die("reboot");
  engine.reboot();
}

HostFacts SimAgent::facts() {
  HostFacts facts;
  facts.architecture = "amd64";
  facts.cpuCount = 16;
  facts.memoryBytes = 64ULL << 30;
  facts.diskBytes = 1ULL << 40;
  facts.traits = {"docker"};
  facts.runtimes = {{"docker", RuntimeState::kHealthy, "", ""}};
  facts.bootId = fmt::format("boot-{}", boots_);
  return facts;
}

std::vector<Observation> SimAgent::unacknowledged() {
  auto all = supervisor_->unacknowledged();
  return all;
}

// Fences hold over deaths: what this host said it has is never replaced by something older (rules 1 and 3).
void SimAgent::checkFence(std::string_view when) {
  for (const auto& [id, generation] : accepted_) {
    const auto* record = supervisor_->find(id);
    if (record == nullptr) {
      if (!ledger_.deletionWanted(id)) simulation_.violate("nothing lost", fmt::format("{} has forgotten {} {}", name(), id, when));
    } else if (record->assignment.generation < generation && !(ledger_.restored() && ledger_.deletionWanted(id))) {
      simulation_.violate("fence", fmt::format("{} had generation {} of {} and has {} {}", name(), generation, id, record->assignment.generation, when));
    }
  }
}

Task<AssignmentAck> SimAgent::assign(Assignment assignment) {
  if (alive()) ledger_.assignmentArrived(name(), assignment);
  const auto id = assignment.sandboxId;
  const bool isNew = supervisor_->find(id) == nullptr;
  if (isNew && alive()) ledger_.recordBegins(name(), id);
  const auto life = this->life();
  const auto before = held(id);
  const bool anew = destroysAnew(assignment, before ? &*before : nullptr, {}) && letGoBefore(id) < destructionOf(assignment);
  const auto taken = takenAt_.find(id);
  const auto since = taken == takenAt_.end() ? std::nullopt : std::optional(taken->second);
  hosted_.insert(id);
  const auto asked = simulation_.machine.nanoseconds();
  auto ack = co_await supervisor_->assign(assignment);
  if (!isLife(life)) co_return ack;
  if (ack.refusal) {
    simulation_.trace("{} refuses {}: {}", name(), id, ack.refusal->message);
    // It may have been taken all the same, and not be on disk yet.
    const auto after = held(id);
    if (after && after->assignment.generation == assignment.generation) noteDestruction(assignment, false, asked, since);
  } else {
    auto& newest = accepted_[id];
    newest = std::max(newest, ack.generation);
    checkFence("after an assignment");
    if (isNew) takenAt_.emplace(id, simulation_.machine.nanoseconds());
    noteDestruction(assignment, anew, asked, since);
  }
  co_return ack;
}

std::optional<HeldSandbox> SimAgent::findHeld(const SandboxId& id) { return supervisor_->findHeld(id); }

std::vector<HeldDestruction> SimAgent::heldDestructions() const {
  return alive() && recovered_ && supervisor_ ? supervisor_->heldDestructions() : std::vector<HeldDestruction>();
}

void SimAgent::confirmationAsked(const std::vector<HeldDestruction>& all) {
  for (const auto& each : all) {
    heldBack_.erase(each.sandboxId);
    allowed_[each.sandboxId] = std::max(allowed_[each.sandboxId], each.generation);
  }
}

Task<void> SimAgent::confirmLocally() {
  const auto all = heldDestructions();
  if (all.empty()) co_return;
  confirmationAsked(all);
  [[maybe_unused]] const auto released = co_await supervisor_->confirmDestructions(fenceId(all));
}

// What the journal says of it: one that was let go and could not be recorded is let go again, and is none more.
std::uint64_t SimAgent::letGoBefore(const SandboxId& id) {
  const auto found = file_->queryOne("SELECT value FROM agent_state WHERE key = 'destruction_released/' || $1", {id.text()}, [](const Row& row) { return row.text(0); });
  std::uint64_t generation = 0;
  if (found && *found) std::from_chars((*found)->data(), (*found)->data() + (*found)->size(), generation);
  return generation;
}

// An assignment was taken: it is held, or it may destroy from now on. No more than the limit may in one window, of those
// that the host has had for long enough.
void SimAgent::noteDestruction(const Assignment& assignment, bool anew, std::int64_t asked, std::optional<std::int64_t> since) {
  const auto& id = assignment.sandboxId;
  const auto generation = destructionOf(assignment);
  if (generation == 0) return;
  const auto all = supervisor_->heldDestructions();
  const bool isHeld = std::ranges::find(all, id, &HeldDestruction::sandboxId) != all.end();
  if (isHeld) {
    simulation_.trace("{} holds the destruction of {}", name(), id);
    // Of one that was let go before its record was lost, the journal knows that.
    const auto let = allowed_.find(id);
    if (let == allowed_.end() || let->second < generation) heldBack_[id] = generation;
    return;
  }
  if (heldBack_.contains(id)) simulation_.violate("held", fmt::format("{} held the destruction of {} and holds it no more", name(), id));
  allowed_[id] = std::max(allowed_[id], generation);
  const auto now = simulation_.machine.nanoseconds();  // it was judged between `asked` and now
  const auto window = std::chrono::nanoseconds(fence_.window).count();
  if (!anew || (since && now - *since < window + 1'000'000'000)) return;
  letThrough_.push_back(asked);
  const auto inWindow = static_cast<std::size_t>(std::ranges::count_if(letThrough_, [&](std::int64_t at) { return now - at < window; }));
  const auto most = std::max<std::size_t>((hosted_.size() + kGoneAndBack) * fence_.percent / 100, fence_.atLeast - 1);
  if (inWindow > most) {
    simulation_.violate("mass deletion", fmt::format("{} destroys {} sandboxes at once, and {} are the most", name(), inWindow, most));
  }
}

// What was held stays held over a restart; what was taken and not answered may be either.
void SimAgent::checkHeldAgain() {
  takenAt_.clear();
  letThrough_.clear();
  hosted_.clear();
  for (const auto& [id, container] : engine.containers()) hosted_.insert(id);
  const auto all = supervisor_->heldDestructions();
  for (const auto& version : supervisor_->versions()) {
    const auto record = held(version.sandboxId);
    hosted_.insert(version.sandboxId);
    const auto generation = destructionOf(record->assignment);
    const bool isHeld = std::ranges::find(all, version.sandboxId, &HeldDestruction::sandboxId) != all.end();
    if (generation == 0) heldBack_.erase(version.sandboxId);
    if (generation == 0 || isHeld) continue;
    const auto back = heldBack_.find(version.sandboxId);
    // Should it be of before that destruction, the wish for it did not get to disk, and is to come again.
    if (back != heldBack_.end() && generation < back->second) {
      heldBack_.erase(back);
    } else if (back != heldBack_.end()) {
      simulation_.violate("held", fmt::format("{} has forgotten that the destruction of {} is held", name(), version.sandboxId));
    }
    allowed_[version.sandboxId] = std::max(allowed_[version.sandboxId], generation);
  }
}

bool SimAgent::mayDestroy(const SandboxId& id, std::uint64_t containerGeneration) const {
  const auto found = allowed_.find(id);
  return found != allowed_.end() && found->second >= containerGeneration;
}

void SimAgent::linkUp(std::uint64_t epoch) {
  supervisor_->linkUp();
  tasks_->spawn("remember epoch", rememberEpoch(epoch));
  if (alive()) linkedSince_ = simulation_.machine.nanoseconds();
  linkWatch_->linkUp();
}

void SimAgent::linkDown() {
  reachEnds();
  linkWatch_->linkDown();
}

void SimAgent::reachEnds() {
  if (linkedSince_ && lasted(*linkedSince_) >= kLinkSettles) {
    settledLast_ = *linkedSince_ + std::chrono::nanoseconds(kLinkSettles).count();
    reachedLast_ = simulation_.machine.nanoseconds();
  }
  linkedSince_.reset();
}

// What it could not write down it does not know when it comes back, and takes that link for a part of the outage.
void SimAgent::forgetReach() {
  const auto word = file_->queryOne("SELECT value FROM agent_state WHERE key = 'link_outage'", {}, [](const Row& row) { return row.text(0); });
  std::int64_t writtenAt = 0;
  if (word && *word) {
    const auto begin = (*word)->find(' ') + 1;
    std::from_chars((*word)->data() + begin, (*word)->data() + (*word)->size(), writtenAt);
  }
  const auto time = reachedLast_ - settledLast_;
  const bool hadTime = time >= std::chrono::nanoseconds(kWritten).count() && !disk.wasFull(settledLast_);
  if (writtenAt * 1'000'000 >= settledLast_ || hadTime) reachedKnown_ = reachedLast_;
  reachedLast_ = reachedKnown_;
}

Millis SimAgent::outOfReachFor() const {
  if (linkedSince_ && lasted(*linkedSince_) >= kLinkSettles + kBegun) return Millis(0);
  return lasted(reachedLast_) + jumped_;
}

void SimAgent::clockJumps(Millis by) {
  clock.shift += by;
  jumped_ += std::max(by, Millis(0));
}

Task<void> SimAgent::rememberEpoch(std::uint64_t epoch) { [[maybe_unused]] const auto saved = co_await journal_.writeValue(kEpochKey, fmt::format("{}", epoch)); }

void SimAgent::told(const Observation& observation) {
  if (!alive()) return;
  ledger_.observationTold(name(), observation);
  if (link_) link_->sendObservation(observation);
}

Task<Result<CacheHandle>> SimAgent::ensureLocal(Digest manifest, Deadline) {
  co_await sleepFor(simulation_.random.between(Millis(1), Millis(simulation_.mishap(50) ? 20'000 : 200)));
  if (simulation_.mishap(50)) co_return fail(ErrorCode::kUnavailable, "the blueprint cannot be fetched now");
  CacheHandle handle;
  handle.runtime = "docker";
  handle.manifest = std::move(manifest);
  co_return handle;
}

}  // namespace gs::sim

#include "server.h"

#include "databases.h"
#include "server/store/schema.h"

namespace gs::sim {
namespace {

std::shared_ptr<Database> serverDatabase() {
  static DatabasePool pool(serverMigrations());
  return pool.lend();
}

}  // namespace

SimServer::SimServer(Simulation& simulation, Ledger& ledger, Network& network)
    : Process(simulation, "server"),
      disk(simulation, *this),
      ledger_(ledger),
      network_(network) {
  open(serverDatabase());
  ledger_.askForWishers([this](const SandboxId& id, std::uint64_t generation) { return wisherOf(id, generation); });
}

void SimServer::open(std::shared_ptr<Database> database) {
  database_ = std::move(database);
  stores_.push_back(std::make_unique<SqlStore>(database_, clock, disk));
}

// Past the disk, and without a moment: every piece of work on a database is done within one step of the loop.
std::optional<Ledger::Wisher> SimServer::wisherOf(const SandboxId& id, std::uint64_t generation) {
  const auto found = database_->queryOne(
      "SELECT name, actor, at FROM sandbox_event WHERE sandbox_id = $1 AND generation = $2 AND (kind LIKE '%_requested' OR kind = "
      "'archived') ORDER BY id LIMIT 1",
      {id.text(), static_cast<std::int64_t>(generation)}, [](const Row& row) { return Ledger::Wisher{row.text(0), row.text(1), fromUnixMillis(row.integer(2))}; });
  return found ? *found : std::nullopt;
}

void SimServer::died() {
  inUse_.clear();
  ledger_.deadlines.serverDied();
  network_.processDied(*this);
}

void SimServer::clockJumps(Millis by) {
  clock.shift += by;
  ledger_.deadlines.serverClockJumped(by);
}

// Until it is done, or the server has died.
Task<void> SimServer::operate(Task<void> work) {
  const auto life = this->life();
  const auto done = std::make_shared<bool>(false);
  connections_->spawn("operator", [](Task<void> what, std::shared_ptr<bool> flag) -> Task<void> {
    co_await std::move(what);
    *flag = true;
  }(std::move(work), done));
  while (!*done && isLife(life)) co_await sleepFor(Millis(50));
}

Task<void> SimServer::confirm(HostId host, std::string fence) {
  if (alive() && hostService_) co_await operate(confirming(std::move(host), std::move(fence)));
}

Task<void> SimServer::confirming(HostId host, std::string fence) {
  [[maybe_unused]] const auto released = co_await hostService_->confirmDeletions(admin, host, std::move(fence));
}

Task<void> SimServer::adoptSome(HostId host, unsigned perMille) {
  if (alive() && hostService_) co_await operate(adopting(std::move(host), perMille));
}

Task<void> SimServer::adopting(HostId host, unsigned perMille) {
  const auto life = this->life();
  const auto all = co_await hostService_->listAdoptable(admin, host);
  if (!all) co_return;
  for (const auto& each : *all) {
    const auto id = each.held.assignment.sandboxId;
    if (!simulation_.random.chance(perMille) || each.held.assignment.desired == DesiredState::kDeleted) continue;
    simulation_.trace("operator adopts {}", id);
    ledger_.adopted(each.held.assignment);
    const auto adopted = co_await hostService_->adopt(admin, host, id, "");
    if (isLife(life)) simulation_.trace("operator is answered {}: {}", id, adopted ? "adopted" : adopted.error().message);
  }
}

void SimServer::visit(SandboxId id, std::string name, Millis time) {
  if (alive() && connections_ && sandboxes_) connections_->spawn("session", session(std::move(id), std::move(name), time));
}

// As the sessions' broker: it counts while it is open, and its beginning and end are noted.
Task<void> SimServer::session(SandboxId id, std::string name, Millis time) {
  const auto life = this->life();
  ++inUse_[id];
  ledger_.deadlines.sessionBegan(name);
  auto now = ledger_.deadlines.now();
  if (co_await store().noteActivity(id) && isLife(life)) ledger_.deadlines.used(name, now);
  co_await sleepFor(time);
  if (!isLife(life)) co_return;
  if (--inUse_[id] == 0) {
    inUse_.erase(id);
    ledger_.deadlines.sessionEnded(name);
  }
  now = ledger_.deadlines.now();
  if (co_await store().noteActivity(id) && isLife(life)) ledger_.deadlines.used(name, now);
}

Task<Status> SimServer::furnish(std::vector<HostId> hosts) {
  const auto now = clock.wallNow();
  Store::NewTenant all;
  all.tenant = {TenantId::make(), "acme", now};
  all.admin = {UserId::make(), all.tenant.id, "admin", Role::kAdmin, now};
  all.key.id = ApiKeyId::make();
  all.key.tenantId = all.tenant.id;
  all.key.userId = all.admin.id;
  all.key.name = "admin";
  all.key.role = Role::kAdmin;
  all.key.secretHash = std::string(32, 'h');
  all.key.createdAt = now;
  all.cluster.id = ClusterId::make();
  all.cluster.tenantId = all.tenant.id;
  all.cluster.name = "default";
  all.cluster.isDefault = true;
  all.cluster.createdAt = now;
  admin = {all.tenant.id, all.admin.id, all.key.id, Role::kAdmin};
  GS_CO_CHECK(co_await store().insertTenant(all));
  TokenRecord token;
  token.id = TokenId::make();
  token.tenantId = all.tenant.id;
  token.clusterId = all.cluster.id;
  token.secretHash = std::string(32, 's');
  token.maxUses = 100;
  token.createdAt = now;
  token.expiresAt = now + std::chrono::hours(1);
  GS_CO_CHECK(co_await store().insertToken(admin, token));
  hosts_ = std::move(hosts);
  for (const auto& host : hosts_) {
    Store::Enrollment e;
    e.tokenId = token.id;
    e.secretHash = token.secretHash;
    e.hostId = host;
    e.wantedName = "rack";
    e.certificate = {host.text().substr(4), host, now + std::chrono::hours(24), std::nullopt};
    e.now = now;
    GS_CO_CHECK(co_await store().enrollHost(e));
  }
  BlueprintRecord b;
  b.id = BlueprintId::make();
  b.tenantId = all.tenant.id;
  b.name = "debian";
  b.manifest = R"({"formatVersion":1})";
  b.manifestDigest = Digest::of(b.manifest);
  b.imageConfig = "{}";
  b.architecture = "amd64";
  b.os = "linux";
  b.sizeBytes = 7;
  b.archiveDigest = Digest::of("archive");
  b.source = "archive";
  b.createdBy = admin.userId;
  b.createdAt = now;
  co_return co_await store().insertBlueprint(admin, b);
}

Task<void> SimServer::copyDatabase() {
  disk.observeNext();
  if (auto copied = co_await store().image()) copy_ = std::move(*copied);
}

void SimServer::restoreCopy() {
  if (!copy_) return;
  toBeRestored_ = true;
  die("restored from a copy");
}

Task<Status> SimServer::start() {
  if (std::exchange(toBeRestored_, false)) {
    open(std::make_shared<Database>(Database::openImage(*copy_).value()));
    lookedAt_ = ~0ULL;
    ledger_.databaseRestored();
  }
  connections_ = std::make_unique<TaskGroup>(simulation_.executor());
  events_ = std::make_unique<SandboxEvents>(simulation_.executor());
  credentials_ = std::make_unique<BlobCredentials>(clock);
  hub_ = std::make_unique<GatewayHub>(simulation_.executor(), store(), *events_, *credentials_, clock);
  sandboxes_ = std::make_unique<SandboxService>(store(), *hub_, *events_, clock);
  hostService_ = std::make_unique<HostService>(store(), *hub_, clock);
  waiting_ = std::make_unique<WaitingRoom>(simulation_.executor(), store(), *sandboxes_, *events_, *hub_, clock);
  const auto inUse = [this] {
    ledger_.deadlines.serverLooks(fromUnixMillis(toUnixMillis(clock.wallNow())));
    std::vector<SandboxId> ids;
    for (const auto& [id, sessions] : inUse_) ids.push_back(id);
    return ids;
  };
  deadlines_ = std::make_unique<DeadlineKeeper>(simulation_.executor(), *sandboxes_, clock, inUse);
  GS_CO_CHECK(co_await store().markAllDisconnected(clock.wallNow()));
  waiting_->begin();
  deadlines_->begin();
  co_return Status();
}

Task<void> SimServer::unwind() {
  co_await waiting_->stop();
  co_await hub_->stop();
  co_await connections_->cancelAndJoin();
  co_await deadlines_->stop();
  deadlines_.reset();
  waiting_.reset();
  hostService_.reset();
  sandboxes_.reset();
  hub_.reset();
  credentials_.reset();
  events_.reset();
  connections_.reset();
}

Task<Result<std::shared_ptr<WebSocket>>> SimServer::dial(std::size_t index, Process& agent, HostId host, Deadline deadline) {
  const auto agentLife = agent.life();
  if (network_.blocked(index, Way::kUp) || network_.blocked(index, Way::kDown)) {
    // A handshake needs both ways.
    while (!deadline.expired() && (network_.blocked(index, Way::kUp) || network_.blocked(index, Way::kDown))) co_await sleepFor(Millis(500));
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the server cannot be reached");
  }
  co_await sleepFor(simulation_.random.between(Millis(2), Millis(60)));
  if (!alive() || !hub_ || simulation_.mishap(30)) co_return fail(ErrorCode::kUnavailable, "connection refused");
  if (!agent.isLife(agentLife)) co_return fail(ErrorCode::kUnavailable, "the process died");
  auto [near, far] = network_.connect(index, agent, *this);
  connections_->spawn("link", hub_->serveLink(host, host.text().substr(4), std::move(far)));
  co_return std::move(near);
}

Task<void> SimServer::serve(Request what, std::shared_ptr<Reply> reply) {
  auto result = co_await what(*sandboxes_);
  if (!alive() || simulation_.mishap(20)) co_return;
  reply->result.emplace(std::move(result));
  reply->changed.notifyAll();
}

Task<Result<SandboxRecord>> SimServer::request(Request what) {
  co_await sleepFor(simulation_.random.between(Millis(1), Millis(30)));
  if (!alive() || !sandboxes_) co_return fail(ErrorCode::kUnavailable, "connection refused");
  const auto reply = std::make_shared<Reply>(simulation_.executor());
  const auto life = this->life();
  connections_->spawn("request", serve(std::move(what), reply));
  const auto deadline = Deadline::after(Millis(5'000));
  while (!reply->result && isLife(life) && !deadline.expired()) co_await reply->changed.waitUntil(Deadline::after(Millis(100)));
  if (!reply->result) co_return fail(ErrorCode::kUnavailable, "the answer was lost");
  co_return std::move(*reply->result);
}

Task<std::vector<SandboxRecord>> SimServer::look() {
  // Looking changes nothing, so it is only done again when something was done.
  if (lookedAt_ == disk.jobs) co_return looked_;
  std::vector<SandboxRecord> all;
  const auto jobs = disk.jobs;
  const auto* const looksInto = stores_.back().get();
  disk.observeNext();
  PageRequest page;
  page.limit = 200;
  auto found = co_await store().listSandboxes(admin.tenantId, {}, page);
  if (!found) co_return all;
  std::map<SandboxId, Ledger::Stored> stored;
  for (const auto& record : found->items) {
    stored[record.id] = {record.generation, record.observedGeneration, record.sequence, record.version, record.desired, record.hostId.text()};
  }
  if (looksInto != stores_.back().get()) co_return looked_;
  ledger_.databaseSeen(std::move(stored));
  lookedAt_ = jobs;
  looked_ = std::move(found->items);
  co_return looked_;
}

}  // namespace gs::sim

#include "server/sandboxes/sandbox_service.h"

#include "base/encoding.h"
#include "base/log.h"
#include "server/core/fault.h"
#include "server/core/names.h"
#include "server/core/sandbox_view.h"

namespace gs {
namespace {

constexpr int kNameAttempts = 8;
constexpr std::size_t kNameRandom = 6;
// How long a client that left may go unnoticed.
constexpr Millis kLookAround{1'000};

// The member of the request that named what does not exist.
Error atMember(Error error, std::string_view member) {
  if (error.code == ErrorCode::kNotFound) error.details = {faultLine(fmt::format("/{}", member), error.message)};
  return error;
}

Error noHostFits(const std::vector<Rejection>& rejections, std::size_t hosts) {
  Error error = makeError(ErrorCode::kFailedPrecondition,
                          hosts == 0   ? std::string("the cluster has no hosts")
                          : hosts == 1 ? fmt::format("the only host, {}, does not fit: {}", rejections.front().hostName,
                                                     rejections.front().detail)
                                       : fmt::format("none of {} hosts fits", hosts));
  error.reason = "no_host_fits";
  error.fix = suggestFix(rejections);
  for (const auto& rejection : rejections) {
    if (error.details.size() == kMaxFaults) break;
    error.details.push_back(faultLine("/hosts/" + rejection.host.text(), rejection.detail));
  }
  return error;
}

}  // namespace

std::function<Result<std::size_t>(const std::vector<HostLoad>&)> chooserFor(PlacementRequest request) {
  return [request = std::move(request)](const std::vector<HostLoad>& hosts) -> Result<std::size_t> {
    if (const auto chosen = chooseHost(request, hosts)) return *chosen;
    return fail(noHostFits(explainRejections(request, hosts), hosts.size()));
  };
}

namespace {

bool isEnd(SandboxState state) { return state == SandboxState::kFailed || state == SandboxState::kStopped; }

bool endsTheWait(const SandboxRecord& record, const std::vector<SandboxState>& states) {
  if (std::find(states.begin(), states.end(), record.state) == states.end()) return false;
  return isCurrent(record) || !isEnd(record.state);
}

}  // namespace

SandboxService::SandboxService(Store& store, LinkHub& hub, SandboxEvents& events, const Clock& clock, PlacementRules rules)
    : store_(store), hub_(hub), events_(events), clock_(clock), rules_(rules) {}

Task<Result<ClusterId>> SandboxService::resolveCluster(Actor actor, const SandboxWish& wish) {
  std::optional<ClusterId> ofHost;
  if (wish.host) {
    auto host = co_await store_.getHost(actor.tenantId, *wish.host);
    if (!host) co_return fail(atMember(std::move(host).error(), "hostId"));
    ofHost = host->clusterId;
  }
  if (!wish.cluster) {
    if (ofHost) co_return std::move(*ofHost);
    GS_CO_TRY(auto cluster, co_await store_.getDefaultCluster(actor.tenantId));
    co_return std::move(cluster.id);
  }
  const auto cluster = co_await store_.getCluster(actor.tenantId, *wish.cluster);
  if (!cluster) co_return fail(atMember(cluster.error(), "clusterId"));
  if (ofHost && *ofHost != cluster->id) {
    Error error = makeError(ErrorCode::kFailedPrecondition, "the host is in another cluster");
    error.reason = "other_cluster";
    error.fix = "leave clusterId out, or name the cluster of the host";
    error.details = {faultLine("/hosts/" + wish.host->text(), "it is in cluster " + ofHost->text())};
    co_return fail(std::move(error));
  }
  co_return cluster->id;
}

Task<Result<SandboxService::Question>> SandboxService::ask(Actor actor, const SandboxWish& wish) {
  if (wish.runtime == "sbx") {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "the runtime sbx (Docker microVMs) is coming soon")
                       .withReason("runtime_coming_soon")
                       .withFix("use the runtime docker"));
  }
  auto blueprint = co_await store_.findBlueprint(actor.tenantId, wish.blueprint);
  if (!blueprint) co_return fail(atMember(std::move(blueprint).error(), "blueprint"));
  GS_CO_TRY(const ClusterId cluster, co_await resolveCluster(actor, wish));
  Question question;
  question.hosts = {cluster, wish.host, blueprint->manifestDigest};
  question.request = {cluster,
                      wish.runtime,
                      blueprint->architecture,
                      wish.requiredTraits,
                      wish.requiredTags,
                      wish.resources,
                      static_cast<std::uint64_t>(blueprint->sizeBytes),
                      wish.host ? HostChoice::kNamed : HostChoice::kAny,
                      clock_.wallNow(),
                      rules_};
  question.blueprint = std::move(*blueprint);
  co_return question;
}

Task<Result<SandboxRecord>> SandboxService::place(Actor actor, SandboxWish wish, Question question) {
  const BlueprintRecord& blueprint = question.blueprint;
  SandboxRecord record;
  record.id = SandboxId::make();
  record.tenantId = actor.tenantId;
  record.blueprintId = blueprint.id;
  record.spec.runtime = std::move(wish.runtime);
  record.spec.manifest = blueprint.manifestDigest;
  record.spec.blueprintName = blueprint.name;
  record.spec.command = std::move(wish.command);
  record.spec.env = std::move(wish.env);
  record.spec.workingDir = std::move(wish.workingDir);
  record.spec.user = std::move(wish.user);
  record.spec.resources = wish.resources;
  record.spec.restart = wish.restart;
  record.spec.stopAfterDisconnect = wish.stopAfterDisconnect;
  record.demands = {std::move(wish.host), std::move(wish.requiredTags), std::move(wish.requiredTraits)};
  record.state = SandboxState::kPlacing;
  record.reason = "pending_placement";
  record.createdBy = actor.userId;
  record.createdAt = clock_.wallNow();
  record.updatedAt = record.createdAt;
  if (wish.ttl) record.expiresAt = record.createdAt + *wish.ttl;
  record.idleStop = wish.idleStop;
  Store::Placing placing;
  placing.hosts = question.hosts;
  placing.choose = chooserFor(std::move(question.request));
  placing.repeat = wish.repeat;
  placing.noHost = wish.noHost;
  // A made-up name may meet one that is taken; a given one is the caller's to change.
  for (int attempt = 1;; ++attempt) {
    record.name = wish.name.empty() ? withSuffix(blueprint.name, "-" + randomIdChars(kNameRandom)) : wish.name;
    record.spec.name = record.name;
    auto placed = co_await store_.placeSandbox(actor, record, placing);
    const bool retry = !placed && wish.name.empty() && placed.error().code == ErrorCode::kAlreadyExists && attempt < kNameAttempts;
    if (!retry) co_return placed;
  }
}

Task<Result<SandboxRecord>> SandboxService::create(Actor actor, SandboxWish wish) {
  if (wish.repeat) {
    GS_CO_TRY(auto before, co_await store_.findRepeated(actor.tenantId, *wish.repeat));
    if (before) co_return std::move(*before);
  }
  GS_CO_TRY(auto question, co_await ask(actor, wish));
  GS_CO_TRY(auto record, co_await place(actor, std::move(wish), std::move(question)));
  tellHost(record);
  events_.notify(record.id);
  co_return record;
}

Task<Result<PlacementReport>> SandboxService::explain(Actor actor, SandboxWish wish) {
  GS_CO_TRY(auto question, co_await ask(actor, wish));
  co_return co_await report(actor.tenantId, std::move(question));
}

// What was asked for at creation, as the record has it.
Task<Result<SandboxService::Question>> SandboxService::askAgain(SandboxRecord waiting) {
  GS_CO_TRY(auto blueprint, co_await store_.getBlueprint(waiting.tenantId, waiting.blueprintId));
  Question question;
  question.hosts = {waiting.clusterId, waiting.demands.host, blueprint.manifestDigest};
  question.request = {waiting.clusterId,
                      waiting.spec.runtime,
                      blueprint.architecture,
                      waiting.demands.traits,
                      waiting.demands.tags,
                      waiting.spec.resources,
                      static_cast<std::uint64_t>(blueprint.sizeBytes),
                      waiting.demands.host ? HostChoice::kNamed : HostChoice::kAny,
                      clock_.wallNow(),
                      rules_};
  question.blueprint = std::move(blueprint);
  co_return question;
}

Task<Result<PlacementReport>> SandboxService::explainWaiting(SandboxRecord waiting) {
  const TenantId tenant = waiting.tenantId;
  GS_CO_TRY(auto question, co_await askAgain(std::move(waiting)));
  co_return co_await report(tenant, std::move(question));
}

Task<Result<SandboxRecord>> SandboxService::placeWaiting(SandboxRecord waiting) {
  GS_CO_TRY(auto question, co_await askAgain(waiting));
  Store::Placing placing;
  placing.hosts = question.hosts;
  placing.choose = chooserFor(std::move(question.request));
  GS_CO_TRY(auto placed, co_await store_.placeWaiting(waiting.tenantId, waiting.id, std::move(placing)));
  tellHost(placed);
  events_.notify(placed.id);
  co_return placed;
}

Task<Result<PlacementReport>> SandboxService::report(TenantId tenant, Question question) {
  GS_CO_TRY(const auto hosts, co_await store_.hostLoads(tenant, question.hosts));
  PlacementReport report;
  std::vector<Rejection> rejections;
  for (const auto& load : hosts) {
    if (auto rejection = explainRejection(question.request, load)) {
      rejections.push_back(std::move(*rejection));
    } else {
      report.hosts.push_back({load.host.id, load.host.name, std::nullopt});
    }
  }
  for (const auto& rejection : rejections) report.hosts.push_back({rejection.host, rejection.hostName, rejection});
  if (const auto chosen = chooseHost(question.request, hosts)) {
    report.chosen = hosts[*chosen].host.id;
  } else {
    report.fix = suggestFix(rejections);
  }
  co_return report;
}

Task<Result<HostRecord>> SandboxService::drain(Actor actor, HostId host, Millis grace) {
  GS_CO_TRY(const auto stopped, co_await store_.drainHost(actor, host, grace));
  for (const auto& record : stopped) tellHost(record);
  wakeWaiters();
  co_return co_await store_.getHost(actor.tenantId, host);
}

Task<Result<SandboxRecord>> SandboxService::get(Actor actor, SandboxId id) {
  return store_.getSandbox(std::move(actor.tenantId), std::move(id));
}

Task<Result<SandboxRecord>> SandboxService::waitFor(Actor actor, SandboxId id, std::vector<SandboxState> states,
                                                    Deadline deadline, std::function<bool()> clientLeft) {
  while (true) {
    const auto seen = events_.changes();
    GS_CO_TRY(auto record, co_await store_.getSandbox(actor.tenantId, id));
    // From here to the wait nothing suspends, so a change cannot slip in between.
    if (endsTheWait(record, states) || deadline.expired()) co_return record;
    if (stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
    while (events_.changes() == seen && !deadline.expired()) {
      if (clientLeft()) co_return fail(ErrorCode::kCancelled, "the client has left");
      co_await events_.wait(deadline.earlier(Deadline::after(kLookAround)));
    }
  }
}

Task<Result<Page<SandboxRecord>>> SandboxService::list(Actor actor, Store::SandboxFilter filter, PageRequest page) {
  return store_.listSandboxes(std::move(actor.tenantId), std::move(filter), std::move(page));
}

Task<Result<SandboxEventSlice>> SandboxService::events(Actor actor, SandboxEventQuery query) {
  return store_.listSandboxEvents(std::move(actor.tenantId), std::move(query));
}

Task<Result<SandboxRecord>> SandboxService::start(Actor actor, SandboxId id) {
  auto started = co_await setDesired(actor, id, DesiredState::kRunning, Millis(0));
  if (started || started.error().reason != "sandbox_archived") co_return started;
  co_return co_await restore(std::move(actor), std::move(id), std::nullopt);
}

Task<Result<SandboxRecord>> SandboxService::stop(Actor actor, SandboxId id, Millis grace) {
  return setDesired(std::move(actor), std::move(id), DesiredState::kStopped, grace);
}

Task<Result<SandboxRecord>> SandboxService::remove(Actor actor, SandboxId id) {
  return setDesired(std::move(actor), std::move(id), DesiredState::kDeleted, Millis(0));
}

Task<Result<SandboxRecord>> SandboxService::setDesired(Actor actor, SandboxId id, DesiredState desired, Millis grace) {
  GS_CO_TRY(auto record, co_await store_.setDesired(std::move(actor), std::move(id), desired, grace));
  // Told again on a repeat: assignments are levels, and the word before may have been lost on the way.
  if (record.state != SandboxState::kDeleted) tellHost(record);
  events_.notify(record.id);
  co_return record;
}

Task<Result<SandboxRecord>> SandboxService::setLifetime(Actor actor, SandboxId id, LifetimeWish wish) {
  Store::Lifetime lifetime;
  if (wish.ttl) lifetime.expiresAt = wish.ttl->count() == 0 ? std::nullopt : std::optional(clock_.wallNow() + *wish.ttl);
  lifetime.idleStop = wish.idleStop;
  co_return co_await store_.setLifetime(std::move(actor), std::move(id), lifetime);
}

Task<Result<std::optional<WallTime>>> SandboxService::actOnDeadlines(std::vector<SandboxId> inUse) {
  GS_CO_TRY(const auto sweep, co_await store_.actOnDeadlines(std::move(inUse)));
  for (const auto& record : sweep.changed) {
    logInfo("sandbox_deadline", {{"sandbox", record.id.text()}, {"wanted", desiredStateName(record.desired)}, {"by", record.desiredBy}});
    if (record.state != SandboxState::kDeleted) tellHost(record);
  }
  if (!sweep.changed.empty()) wakeWaiters();
  co_return sweep.next;
}

void SandboxService::tellHost(const SandboxRecord& record) {
  if (record.hostId.empty()) return;  // it waits for one
  // The host may have lost its record and be linked again, and not have been compared yet: numbers that it counts from one
  // then would be those of what was heard before, and be taken for known.
  hub_.sendAssignment(record.hostId, assignmentWithMemory(record));
}

void SandboxService::wakeWaiters() { events_.notify({}); }

void SandboxService::beginStop() {
  stopping_ = true;
  wakeWaiters();
}

}  // namespace gs

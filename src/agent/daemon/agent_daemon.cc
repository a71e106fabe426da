#include "agent/daemon/agent_daemon.h"

#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>

#include <filesystem>

#include "agent/daemon/deletions_command.h"
#include "agent/daemon/host_picture.h"
#include "agent/daemon/startup_memory.h"
#include "agent/sessions/file_session.h"
#include "agent/sessions/run_session.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kHealthEvery{3'000};
constexpr Millis kHealthCall{5'000};
constexpr Millis kTolerableSkew{30'000};
constexpr Millis kSweepEvery{10 * 60'000};
constexpr Millis kSweepMinimumAge{10 * 60'000};
constexpr const char* kEpochKey = "link_epoch";

// Runtimes that the product names and this version does not drive, so that a person sees why nothing is placed on them.
const std::vector<RuntimeHealth> kOtherRuntimes{
    {"lxc", RuntimeState::kAbsent, "", "this version runs sandboxes with Docker only"},
    {"qemu", RuntimeState::kAbsent, "", "this version runs sandboxes with Docker only"},
    {"firecracker", RuntimeState::kAbsent, "", "this version runs sandboxes with Docker only"},
    {"proxmox", RuntimeState::kAbsent, "", "this version runs sandboxes with Docker only"},
    {"sbx", RuntimeState::kComingSoon, "", "the Docker sbx microVM is coming soon"}};

}  // namespace

AgentDaemon::AgentDaemon(asio::io_context& loop, Start start)
    : executor_(loop.get_executor()),
      paths_(start.config.stateDir, start.config.runDir),
      probe_({"", start.config.stateDir, start.config.traits}),
      facts_(probe_.readFacts()),
      diskReserve_(start.config.diskReserveBytes),
      fence_(start.config.deletionFence),
      pool_(2),
      database_(std::move(start.database)),
      journal_(database_),
      docker_(executor_, DockerSettings{start.config.dockerSocket}),
      blobFiles_(makeDiskFiles()),
      link_(executor_, start.identity, start.lastEpoch, *this),
      blobSource_(executor_, link_),
      cache_({executor_, blobSource_, docker_, pool_, database_, *blobFiles_, clock_},
             {paths_.cacheDir(), start.config.diskReserveBytes}),
      layerUploader_(executor_, link_),
      layers_({executor_, docker_, layerUploader_, pool_, *blobFiles_}, paths_.layersDir(), start.config.diskReserveBytes),
      logs_(executor_, paths_, start.config.logs, pool_, [this] { return checkRoom(); }),
      supervisor_(sandboxParts(start), [this](const Observation& o) { link_.sendObservation(o); }),
      linkWatch_(executor_, journal_, clock_, facts_.bootId,
                 {[this] { return supervisor_.mindsTheLink(); }, [this] { supervisor_.linkChanged(); }}),
      channels_(executor_,
                [this](std::shared_ptr<WebSocket> channel, SessionOpen open) {
                  if (std::holds_alternative<FilesSession>(open.kind)) {
                    return runFileSession(std::move(channel), std::move(open.sandboxId),
                                          [this](SandboxId id, Deadline deadline) { return supervisor_.startFiles(std::move(id), deadline); });
                  }
                  if (std::holds_alternative<LogsSession>(open.kind)) {
                    return runLogSession(std::move(channel), std::move(open), logs_,
                                         [this](const SandboxId& id) { return supervisor_.find(id) != nullptr; });
                  }
                  return runSession(std::move(channel), std::move(open), supervisor_);
                }),
      tasks_(executor_) {
  channels_.setIdentity(start.identity);
}

AgentDaemon::~AgentDaemon() = default;

SandboxParts AgentDaemon::sandboxParts(const Start& start) {
  return {executor_,
          journal_,
          docker_,
          *this,
          [this](const SandboxId& id) { return openGuestChannel(id); },
          clock_,
          paths_,
          start.identity.hostId,
          facts_.bootId,
          start.guestBinary,
          [this] { return checkRoom(); },
          fence_,
          this,
          [this] { return linkWatch_.downFor(); },
          this};
}

Result<std::unique_ptr<GuestChannel>> AgentDaemon::openGuestChannel(const SandboxId& id) {
  std::error_code error;
  std::filesystem::create_directories(paths_.sandboxDir(id), error);
  if (error) return fail(errnoError(error.value(), "creating " + paths_.sandboxDir(id)));
  return listenForGuest(executor_, {paths_.guestSocket(id), id.text()});
}

Task<Status> AgentDaemon::run() {
  GS_CO_CHECK(co_await cache_.recover());
  GS_CO_CHECK(layers_.recover());
  const auto report = co_await docker_.health(Deadline::after(kHealthCall));
  facts_.runtimes = {report.health};
  facts_.runtimes.insert(facts_.runtimes.end(), kOtherRuntimes.begin(), kOtherRuntimes.end());
  facts_.conditions = report.conditions;
  GS_CO_CHECK(co_await linkWatch_.recover());
  GS_CO_CHECK(co_await supervisor_.recover());
  link_.start();
  tasks_.spawn("runtime health", watchHealth());
  tasks_.spawn("sweep", sweep());
  linkWatch_.begin();
  logInfo("agent_ready", {{"host", link_.identity().hostId.text()}, {"server", link_.identity().serverUrl}});

  asio::signal_set signals(co_await asio::this_coro::executor, SIGTERM, SIGINT);
  const int signal = co_await signals.async_wait(asio::use_awaitable);
  logInfo("agent_stopping", {{"signal", signal}});
  co_await link_.stop();
  co_await channels_.stop();
  co_await tasks_.cancelAndJoin();
  co_await linkWatch_.stop();
  co_await supervisor_.stop();
  co_await cache_.stop();
  co_return Status();
}

HostFacts AgentDaemon::facts() {
  HostFacts facts = facts_;
  // The trait follows the runtime's health, so that placement by trait and by runtime agree.
  const bool docker = !facts.runtimes.empty() && facts.runtimes.front().state == RuntimeState::kHealthy;
  if (docker) facts.traits.emplace_back("docker");
  for (auto& condition : hostConditions()) facts.conditions.push_back(std::move(condition));
  told_ = facts;
  return facts;
}

// Messages that do not change while the condition lasts, so that they are told once.
std::vector<HostCondition> AgentDaemon::hostConditions() {
  std::vector<HostCondition> out;
  const auto offset = std::chrono::duration_cast<std::chrono::seconds>(link_.clockOffset());
  if (std::chrono::abs(link_.clockOffset()) > kTolerableSkew) {
    out.push_back({"clock_skew",
                   fmt::format("the clock is {} s {} the server's", std::abs(offset.count()), offset.count() < 0 ? "ahead of" : "behind"),
                   "let the clock be set by the network (systemd-timesyncd or chrony)"});
  }
  if (probe_.readTelemetry().diskFreeBytes < diskReserve_) {
    out.push_back({"disk_low", fmt::format("less than {} MiB are free on the disk of {}", diskReserve_ >> 20, paths_.stateDir()),
                   "free space there: no sandbox is placed on this host before that"});
  }
  if (const auto strangers = supervisor_.strangers(); !strangers.empty()) {
    out.push_back({"unknown_sandboxes",
                   fmt::format("{} containers of this host belong to no sandbox that it knows, {} among them", strangers.size(),
                               strangers.front().text()),
                   "they are left as they are and adopted when the control plane assigns them again; docker ps "
                   "--filter label=gstacks.managed=1 lists them"});
  }
  if (const auto held = supervisor_.heldDestructions(); !held.empty()) out.push_back(deletionsHeld(held, fence_));
  return out;
}

std::optional<HeldSandbox> AgentDaemon::findHeld(const SandboxId& id) { return supervisor_.findHeld(id); }

Task<Result<std::uint32_t>> AgentDaemon::confirmDeletions(std::string fence) {
  if (fence_.remote == RemoteConfirmation::kRefused) {
    co_return fail(makeError(ErrorCode::kPermissionDenied, "this host takes confirmations of deletions on the host alone")
                       .withReason("confirm_on_host")
                       .withFix("on the host: gstacks-agent deletions list, then gstacks-agent deletions confirm --fence ID"));
  }
  auto released = co_await supervisor_.confirmDestructions(std::move(fence));
  tellChangedFacts();
  co_return released;
}

Task<Result<std::uint32_t>> AgentDaemon::rejectDeletions(std::string fence) {
  // Also where confirmations are taken on the host alone: this destroys nothing.
  auto refused = co_await supervisor_.refuseDestructions(std::move(fence));
  tellChangedFacts();
  co_return refused;
}

Task<void> AgentDaemon::takeLocalAnswers() {
  for (const auto answer : {Destruction::kRefused, Destruction::kReleased}) {
    auto fence = takeAnswer(paths_, answer);
    if (fence && fence->empty()) continue;
    Result<std::uint32_t> taken = std::uint32_t{0};
    if (!fence) {
      taken = fail(std::move(fence).error());
    } else if (answer == Destruction::kRefused) {
      taken = co_await supervisor_.refuseDestructions(std::move(*fence));
    } else {
      taken = co_await supervisor_.confirmDestructions(std::move(*fence));
    }
    if (!taken) logWarn("deletions_answer_not_taken", {{"error", taken.error().describe()}});
  }
}

Status AgentDaemon::checkRoom() const {
  const auto free = probe_.readTelemetry().diskFreeBytes;
  if (free >= diskReserve_) return {};
  return fail(makeError(ErrorCode::kResourceExhausted,
                        fmt::format("the host's disk has {} MiB free, and {} MiB are kept in reserve", free >> 20, diskReserve_ >> 20))
                  .withReason("disk_full")
                  .withFix("free space on the host, or lower diskReserveBytes in its agent.yaml"));
}

void AgentDaemon::tellChangedFacts() {
  const HostFacts before = told_;
  const HostFacts now = facts();
  if (now.runtimes != before.runtimes || now.conditions != before.conditions) link_.sendFacts(now);
}

HostTelemetry AgentDaemon::telemetry() {
  HostTelemetry telemetry = probe_.readTelemetry();
  telemetry.sandboxesRunning = static_cast<std::uint32_t>(supervisor_.runningCount());
  return telemetry;
}

Task<AssignmentAck> AgentDaemon::assign(Assignment assignment) {
  co_return co_await supervisor_.assign(std::move(assignment));
}

void AgentDaemon::linkUp(std::uint64_t epoch) {
  supervisor_.linkUp();
  tasks_.spawn("remember epoch", rememberEpoch(epoch));
  linkWatch_.linkUp();
  // The hello was written before the server's clock was known.
  tellChangedFacts();
}

void AgentDaemon::linkDown() { linkWatch_.linkDown(); }

Task<void> AgentDaemon::rememberEpoch(std::uint64_t epoch) {
  if (const auto saved = co_await journal_.writeValue(kEpochKey, fmt::format("{}", epoch)); !saved) {
    logWarn("epoch_not_saved", {{"error", saved.error().describe()}});
  }
}

void AgentDaemon::identityRenewed(const HostIdentity& identity) {
  if (const auto saved = saveRenewed(paths_, identity); !saved) {
    logError("identity_not_saved", {{"error", saved.error().describe()}});
  }
  channels_.setIdentity(identity);
}

Task<Result<CacheHandle>> AgentDaemon::ensureLocal(Digest manifest, Deadline deadline) {
  co_return co_await cache_.ensureLocal(std::move(manifest), deadline);
}

Task<Status> AgentDaemon::takeLayer(SandboxId id, std::uint64_t generation, Deadline deadline) {
  return layers_.take(std::move(id), generation, deadline);
}

Task<Status> AgentDaemon::sendLayer(SandboxId id, std::uint64_t generation, Deadline deadline) {
  return layers_.send(std::move(id), generation, deadline);
}

Task<Status> AgentDaemon::discardLayer(SandboxId id, Deadline deadline) { return layers_.discard(std::move(id), deadline); }

Task<void> AgentDaemon::sweep() {
  while (true) {
    co_await sleepFor(kSweepEvery);
    const auto picture = co_await takePicture(paths_, link_.identity().hostId, docker_, "", Deadline::after(Millis(30'000)));
    if (!picture) continue;
    const auto leaks = findLeaks(*picture, kSweepMinimumAge);
    for (const auto& leak : cleanProvablyOurs(paths_, leaks)) {
      logInfo("leak_removed", {{"kind", leakKindName(leak.kind)}, {"what", leak.what}});
    }
    for (const auto& leak : leaks) {
      const auto logs = leak.kind == LeakKind::kLogLeftover ? SandboxId::parse(leak.what) : fail(ErrorCode::kNotFound, "");
      if (logs && co_await logs_.discard(*logs)) logInfo("leak_removed", {{"kind", leakKindName(leak.kind)}, {"what", leak.what}});
      const auto id = leak.kind == LeakKind::kLayerLeftover ? SandboxId::parse(leak.what) : fail(ErrorCode::kNotFound, "");
      if (!id) continue;
      const auto gone = co_await layers_.discard(*id, Deadline::after(Millis(60'000)));
      logInfo("leak_removed", {{"kind", leakKindName(leak.kind)}, {"what", leak.what}, {"removed", gone.has_value()}});
    }
  }
}

Task<void> AgentDaemon::watchHealth() {
  // By the first look the link is up and what was there before is adopted.
  bool started = false;
  while (true) {
    co_await sleepFor(kHealthEvery);
    if (!std::exchange(started, true)) releaseStartupMemory();
    const auto report = co_await docker_.health(Deadline::after(kHealthCall));
    if (facts_.runtimes.front() != report.health || facts_.conditions != report.conditions) {
      logInfo("runtime_changed", {{"runtime", report.health.name},
                                  {"healthy", report.health.state == RuntimeState::kHealthy},
                                  {"reason", report.health.reason}});
      facts_.runtimes.front() = report.health;
      facts_.conditions = report.conditions;
    }
    if (report.health.state != RuntimeState::kHealthy) supervisor_.runtimeLost();
    co_await takeLocalAnswers();
    tellChangedFacts();
  }
}

}  // namespace gs

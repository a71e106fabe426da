#include "server/daemon/server_daemon.h"

#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "base/version.h"

namespace gs {
namespace {

constexpr std::size_t kBlobThreads = 2;
// How long answers that are on their way may take once the server stops.
constexpr Millis kDrainTime{1'000};

}  // namespace

Result<ServerDaemon::Start> ServerDaemon::prepare(asio::io_context& loop, ServerSettings settings, const Clock& clock) {
  const DataDirectory directory(loop, settings.dataDir);
  Start start;
  GS_TRY(start.store, directory.openStore(clock));
  GS_CHECK(directory.lock());
  CertificateAuthoritySettings authority;
  authority.directory = directory.authority();
  authority.clientLifetime = settings.certificateLifetime;
  GS_TRY(start.authority, CertificateAuthority::load(std::move(authority), clock));
  GS_TRY(start.blobs, FileBlobStore::open(directory.root()));
  start.settings = std::move(settings);
  return start;
}

ServerDaemon::ServerDaemon(asio::io_context& loop, Start start, const Clock& clock)
    : clock_(clock),
      executor_(loop.get_executor()),
      settings_(std::move(start.settings)),
      store_(std::move(start.store)),
      authority_(std::move(start.authority)),
      blobs_(std::move(start.blobs)),
      blobPool_(kBlobThreads),
      events_(executor_),
      credentials_(clock_),
      hub_(executor_, *store_, events_, credentials_, clock_),
      enrollment_(*store_, *authority_, clock_),
      archives_(executor_, *store_, hub_, events_, blobs_, blobPool_),
      authenticator_(*store_, clock_),
      audit_(*store_),
      identity_(*store_, clock_, authority_->pin()),
      hosts_(*store_, hub_, clock_),
      importer_(blobs_, clock_),
      blueprints_(executor_, *store_, importer_, clock_),
      sandboxes_(*store_, hub_, events_, clock_, settings_.placement),
      eventPruner_(executor_, *store_, settings_.events),
      feed_(executor_, *store_, events_),
      waiting_(executor_, *store_, sandboxes_, events_, hub_, clock_, settings_.waiting),
      sessions_(*store_, hub_, events_, clock_),
      logs_(*store_, hub_),
      files_(executor_, *store_, hub_, clock_),
      sessionDirectory_(*store_, hub_, clock_),
      tickets_(clock_),
      deadlines_(executor_, sandboxes_, clock_,
                 [this] {
                   auto inUse = sessions_.sandboxesInUse();
                   std::ranges::move(files_.sandboxesInUse(), std::back_inserter(inUse));
                   return inUse;
                 }),
      health_(clock_, [this] { return store_->checkHealth(); }) {}

ServerDaemon::~ServerDaemon() = default;

Task<Status> ServerDaemon::run() {
  asio::signal_set signals(executor_, SIGTERM, SIGINT);
  auto started = co_await listen();
  if (started) {
    const int signal = co_await signals.async_wait(asio::use_awaitable);
    logInfo("server_stopping", {{"signal", signal}});
  }
  co_await stop();
  co_return started;
}

Task<Status> ServerDaemon::listen() {
  // Before the first agent can dial in: what the database says of links is from the process before this one.
  GS_CO_CHECK(co_await store_->markAllDisconnected(clock_.wallNow()));
  const ApiParts parts{authenticator_, identity_, hosts_, blueprints_, sandboxes_, sessions_,
                       [this](const TenantId& tenant) { return sessions_.checkQuota(tenant); }, sessionDirectory_, tickets_,
                       settings_.allowedOrigins, health_, audit_,
                       feed_, files_, logs_};
  GS_CO_TRY(api_, Api::make(executor_, parts));
  AgentListenerSettings agent;
  agent.address = settings_.agent.address;
  agent.port = settings_.agent.port;
  agent.names = settings_.agentNames;
  const AgentListenerParts agentParts{*store_,      *authority_, enrollment_, hub_,
                                      credentials_, archives_,   blobs_,      blobPool_, clock_};
  GS_CO_TRY(agents_, AgentListener::start(executor_, std::move(agent), agentParts));
  HttpServerSettings http;
  http.address = settings_.http.address;
  http.port = settings_.http.port;
  GS_CO_TRY(http_, startHttpServer(executor_, std::move(http), api_->handler()));
  blueprints_.sweepSoon();
  archives_.cleanSoon();
  eventPruner_.begin();
  waiting_.begin();
  deadlines_.begin();
  co_return announce();
}

Status ServerDaemon::announce() const {
  if (!settings_.portsFile.empty()) {
    // Renamed into place, so that whoever waits for the file never reads half of it.
    const std::string draft = settings_.portsFile + ".new";
    std::ofstream out(draft);
    out << fmt::format("{{\"http\":{},\"agent\":{}}}\n", http_->port(), agents_->port());
    out.close();
    std::error_code error;
    if (out) std::filesystem::rename(draft, settings_.portsFile, error);
    if (!out || error) return fail(ErrorCode::kUnavailable, "cannot write the ports to " + settings_.portsFile);
  }
  logInfo("server_ready", {{"version", versionString()},
                           {"http_address", settings_.http.address},
                           {"http_port", http_->port()},
                           {"agent_address", settings_.agent.address},
                           {"agent_port", agents_->port()},
                           {"data_dir", settings_.dataDir}});
  return {};
}

Task<void> ServerDaemon::stop() {
  // Those who wait get their answer first; then agents hear that the server goes; then the doors close.
  health_.beginStop();
  sandboxes_.beginStop();
  logs_.stop();
  co_await sessions_.stop();
  co_await files_.stop();
  co_await feed_.stop(Deadline::after(kDrainTime));
  if (api_) co_await api_->drain(Deadline::after(kDrainTime));
  co_await waiting_.stop();
  co_await hub_.stop();
  if (http_) co_await http_->stop();
  if (agents_) co_await agents_->stop();
  co_await archives_.stop();
  co_await blueprints_.stop();
  co_await eventPruner_.stop();
  co_await deadlines_.stop();
}

}  // namespace gs

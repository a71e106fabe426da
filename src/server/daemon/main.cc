#include <sys/resource.h>

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "async/run_task.h"
#include "base/log.h"
#include "base/version.h"
#include "server/daemon/server_daemon.h"

namespace gs {
namespace {

struct Options {
  std::string dataDir = "/var/lib/gstacks/server";
  DataDirectory::NewTenant tenant;
  std::string apiKeyFile;
  std::string http = "127.0.0.1:8080";
  std::string agent = "127.0.0.1:8443";
  std::vector<std::string> agentNames;
  std::string portsFile;
  std::int64_t certificateLifetime = 24 * 3600;
  std::vector<std::string> allowedOrigins;
  PlacementRules placement;
  std::int64_t keepEventDays = 30;
  std::int64_t awaitHosts = WaitingRoomSettings{}.awaitHosts.count();
  SandboxEventLimits events;
  bool insecureHttp = false;
};

int report(const Error& error) {
  fmt::print(stderr, "error: {}\n", error.message);
  for (const auto& where : error.trace) fmt::print(stderr, "  while {}\n", where);
  if (!error.fix.empty()) fmt::print(stderr, "fix: {}\n", error.fix);
  return 1;
}

// Where a new API key goes. Opened before the key is made: a key that cannot be kept must not be made.
class KeySink {
 public:
  static Result<KeySink> open(const std::string& path) {
    if (path.empty()) return KeySink(-1, path);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fail(errnoError(errno, "opening " + path));
    KeySink sink(fd, path);
    if (::fchmod(fd, 0600) != 0) return fail(errnoError(errno, "protecting " + path));
    return sink;
  }
  KeySink(KeySink&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  KeySink& operator=(KeySink&&) = delete;
  ~KeySink() {
    if (fd_ >= 0) ::close(fd_);
  }

  Status put(const SecretString& key) const {
    const std::string line = fmt::format("{}\n", key.reveal());
    if (fd_ < 0) {
      fmt::print("{}", line);
      return {};
    }
    const bool written = ::ftruncate(fd_, 0) == 0 && ::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                         ::fsync(fd_) == 0;
    if (!written) return fail(errnoError(errno, "writing the API key to " + path_));
    return {};
  }

 private:
  KeySink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

enum class Making : std::uint8_t { kFirstTenant, kOneMore };

int makeTenant(const Options& options, Making making) {
  const SystemClock clock;
  asio::io_context loop;
  const DataDirectory directory(loop, options.dataDir);
  // Refused before anything is touched, the key file included.
  if (making == Making::kFirstTenant && std::filesystem::exists(directory.database())) {
    if (const auto store = directory.openStore(clock)) {
      return report(makeError(ErrorCode::kAlreadyExists, options.dataDir + " is initialised already; nothing was changed")
                        .withFix("use `gstacks-server tenant create` for another tenant"));
    }
  }
  const auto sink = KeySink::open(options.apiKeyFile);
  if (!sink) return report(sink.error());
  const auto made = making == Making::kFirstTenant ? directory.initialise(options.tenant, clock)
                                                   : directory.createTenant(options.tenant, clock);
  if (!made) return report(made.error());
  if (const auto kept = sink->put(made->apiKey); !kept) return report(kept.error());
  fmt::print(stderr, "made tenant {} ({}) with the admin {}{}\n", options.tenant.name, made->tenantId, options.tenant.admin,
             options.apiKeyFile.empty() ? "; its API key is on standard output, once" : "; its API key is in " + options.apiKeyFile);
  return 0;
}

// scheme://host[:port] as browsers write it (RFC 6454 §6.2); a wildcard would be every page there is.
Status checkOriginText(const std::string& origin) {
  const auto rest = origin.starts_with("https://") ? origin.substr(8) : origin.starts_with("http://") ? origin.substr(7) : "";
  if (!rest.empty() && rest.find_first_of("/*? ") == std::string::npos) return {};
  return fail(makeError(ErrorCode::kInvalidArgument, "--allow-origin " + origin + " is no origin").withFix("such as https://console.example"));
}

Result<ServerSettings> settingsFrom(const Options& options) {
  ServerSettings settings;
  settings.dataDir = options.dataDir;
  settings.agentNames = options.agentNames;
  settings.portsFile = options.portsFile;
  settings.allowedOrigins = options.allowedOrigins;
  for (const auto& origin : settings.allowedOrigins) GS_CHECK(checkOriginText(origin));
  settings.placement = options.placement;
  settings.events = options.events;
  settings.waiting.awaitHosts = Seconds(options.awaitHosts);
  settings.events.age = std::chrono::hours(24 * options.keepEventDays);
  settings.certificateLifetime = std::chrono::seconds(options.certificateLifetime);
  GS_TRY(settings.http, ListenAddress::parse(options.http));
  GS_TRY(settings.agent, ListenAddress::parse(options.agent));
  if (!settings.http.isLoopback() && !options.insecureHttp) {
    return fail(makeError(ErrorCode::kFailedPrecondition,
                          "--http " + options.http + " is not loopback: API keys would travel in the clear")
                    .withFix("put a TLS proxy in front of a loopback address, or say --insecure-http if the network is private"));
  }
  return settings;
}

void raiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;  // every link, channel and client is a descriptor
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

int serve(const Options& options) {
  ::mallopt(M_ARENA_MAX, 2);  // one loop and a few workers: more arenas would only hold memory back
  raiseFileLimit();
  const SystemClock clock;
  auto settings = settingsFrom(options);
  if (!settings) return report(settings.error());
  asio::io_context loop(1);
  auto start = ServerDaemon::prepare(loop, std::move(*settings), clock);
  if (!start) return report(start.error());
  ServerDaemon daemon(loop, std::move(*start), clock);
  const auto ended = runTask(loop, daemon.run());
  return ended ? 0 : report(ended.error());
}

void addTenantOptions(CLI::App& command, Options& options) {
  command.add_option("--admin", options.tenant.admin, "Name of its first admin")->capture_default_str();
  command.add_option("--api-key-file", options.apiKeyFile, "Write the admin's API key here (mode 0600) instead of printing it");
}

int run(int argc, char** argv) {
  CLI::App app{"gstacks-server is the control plane of GlobalStacks."};
  app.set_version_flag("--version", std::string(versionString()));
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  app.add_option("--data-dir", options.dataDir, "Where database, CA and blueprints live")->capture_default_str();

  auto* init = app.add_subcommand("init", "Make the data directory, the CA, the first tenant and its admin, once");
  init->add_option("--tenant", options.tenant.name, "Name of the first tenant")->capture_default_str();
  addTenantOptions(*init, options);

  auto* tenant = app.add_subcommand("tenant", "Tenants");
  tenant->require_subcommand(1);
  auto* createTenant = tenant->add_subcommand("create", "Make one more tenant; works while the server runs");
  createTenant->add_option("--name", options.tenant.name, "Name of the tenant")->required();
  addTenantOptions(*createTenant, options);

  auto* serveCommand = app.add_subcommand("serve", "Serve in the foreground, until SIGTERM");
  serveCommand->add_option("--http", options.http, "Address of the HTTP API")->capture_default_str();
  serveCommand->add_option("--agent", options.agent, "Address for agents (TLS)")->capture_default_str();
  serveCommand->add_option("--agent-name", options.agentNames, "Name or address by which agents reach this server; repeatable");
  serveCommand->add_option("--ports-file", options.portsFile, "Write the ports that are listened on here, as JSON, once ready");
  // Below a few seconds a certificate would be due again before its renewal is through.
  serveCommand->add_option("--certificate-lifetime", options.certificateLifetime, "Seconds that a host's certificate lives")
      ->check(CLI::Range(5, 30 * 24 * 3600))
      ->capture_default_str();
  serveCommand->add_option("--cpu-overcommit", options.placement.cpuOvercommit,
                           "CPUs that sandboxes may be promised for each CPU of a host; memory is never promised twice")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  serveCommand->add_option("--max-sandboxes-per-host", options.placement.maxSandboxesPerHost, "Sandboxes that one host may hold")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  serveCommand->add_option("--keep-event-days", options.keepEventDays, "Days that events of sandboxes are kept")
      ->check(CLI::Range(1, 3650))
      ->capture_default_str();
  serveCommand->add_option("--keep-events", options.events.perTenant, "Events of sandboxes that are kept for each tenant, the newest")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  serveCommand->add_option("--allow-origin", options.allowedOrigins,
                           "An origin whose pages may open sessions from a browser, such as https://console.example; may be repeated "
                           "(default: none)");
  serveCommand->add_option("--await-hosts-seconds", options.awaitHosts,
                           "Seconds after the start in which sandboxes that waited for a host already go on waiting until every host of "
                           "their cluster has told what it holds")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  serveCommand->add_flag("--insecure-http", options.insecureHttp, "Allow --http on an address that is not loopback");

  auto* version = app.add_subcommand("version", "Print the version");

  CLI11_PARSE(app, argc, argv);
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  if (version->parsed()) {
    fmt::print("{}\n", versionString());
    return 0;
  }
  if (init->parsed()) return makeTenant(options, Making::kFirstTenant);
  if (createTenant->parsed()) return makeTenant(options, Making::kOneMore);
  return serve(options);
}

}  // namespace
}  // namespace gs

int main(int argc, char** argv) {
  try {
    return gs::run(argc, argv);
  } catch (const std::exception& e) {
    gs::logError("fatal", {{"error", e.what()}});
    return 70;
  }
}

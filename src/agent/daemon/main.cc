#include <sys/file.h>
#include <sys/resource.h>

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include <CLI/CLI.hpp>

#include "agent/daemon/agent_daemon.h"
#include "agent/daemon/agent_database.h"
#include "agent/daemon/deletions_command.h"
#include "agent/daemon/guest_binary.h"
#include "agent/daemon/host_picture.h"
#include "agent/link/enrollment.h"
#include "async/run_task.h"
#include "base/log.h"
#include "base/version.h"

namespace gs {
namespace {

struct Options {
  std::string configFile = kDefaultConfigFile;
  bool configGiven = false;
  std::string stateDir, runDir, dockerSocket, guestPath;
  std::string server, tokenFile, name;
  std::string fence;
  std::optional<Destruction> deletionAnswer;
  bool leaks = false, json = false;
  std::int64_t minimumAgeSeconds = 60;
};

int report(const Error& error) {
  fmt::print(stderr, "error: {}\n", error.message);
  for (const auto& where : error.trace) fmt::print(stderr, "  while {}\n", where);
  if (!error.fix.empty()) fmt::print(stderr, "fix: {}\n", error.fix);
  return 1;
}

Result<AgentConfig> loadConfig(const Options& options) {
  GS_TRY(auto config, loadAgentConfig(options.configFile,
                                      options.configGiven ? ConfigFile::kMustExist : ConfigFile::kMayBeMissing));
  if (!options.stateDir.empty()) config.stateDir = options.stateDir;
  if (!options.runDir.empty()) config.runDir = options.runDir;
  if (!options.dockerSocket.empty()) config.dockerSocket = options.dockerSocket;
  if (!options.guestPath.empty()) config.guestPath = options.guestPath;
  if (config.guestPath.empty()) config.guestPath = defaultGuestPath();
  return config;
}

Status makePrivateFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(errnoError(error.value(), "creating " + path));
  if (::chmod(path.c_str(), 0700) != 0) return fail(errnoError(errno, "protecting " + path));
  return {};
}

// Held for the life of the process: two agents on one state directory would fight over every container.
Result<int> lockState(const AgentPaths& paths) {
  const int fd = ::open(paths.lockFile().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail(errnoError(errno, "opening " + paths.lockFile()));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return fail(makeError(ErrorCode::kFailedPrecondition, "another gstacks-agent runs with this run directory")
                    .withFix("stop it first, or give this one its own --state-dir and --run-dir"));
  }
  return fd;
}

Result<std::string> readToken(const std::string& file) {
  std::ostringstream text;
  if (file == "-") {
    text << std::cin.rdbuf();
  } else {
    std::ifstream in(file);
    if (!in) return fail(ErrorCode::kNotFound, "cannot read the token file " + file);
    text << in.rdbuf();
  }
  std::string token = text.str();
  while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back())) != 0) token.pop_back();
  return token;
}

Result<HostIdentity> enroll(const Options& options) {
  GS_TRY(const auto config, loadConfig(options));
  const AgentPaths paths(config.stateDir, config.runDir);
  if (std::filesystem::exists(paths.hostFile())) {
    return fail(makeError(ErrorCode::kAlreadyExists, "this host is enrolled already; the token was not used")
                    .withFix("remove " + paths.identityDir() + " first, if it is to be enrolled anew"));
  }
  GS_TRY(const auto text, readToken(options.tokenFile));
  GS_TRY(auto token, parseProvisioningToken(text));
  GS_CHECK(makePrivateFolder(paths.stateDir()));
  GS_CHECK(makePrivateFolder(paths.identityDir()));
  HostFacts facts = HostProbe({"", config.stateDir, config.traits}).readFacts();
  const std::string name = options.name.empty() ? facts.hostname : options.name;
  asio::io_context loop;
  GS_TRY(auto identity,
         runTask(loop, enrollHost(loop.get_executor(), options.server, std::move(token), name, std::move(facts))));
  GS_CHECK(saveIdentity(paths, identity));
  return identity;
}

Result<AgentDaemon::Start> prepareStart(const Options& options) {
  AgentDaemon::Start start{{}, {}, Database::openInMemory().value(), "", 0};
  GS_TRY(start.config, loadConfig(options));
  const AgentPaths paths(start.config.stateDir, start.config.runDir);
  GS_TRY(start.identity, loadIdentity(paths));
  GS_CHECK(makePrivateFolder(paths.runDir()));
  GS_CHECK(makePrivateFolder(paths.sandboxesDir()));
  GS_TRY([[maybe_unused]] const int lock, lockState(paths));
  GS_TRY(start.guestBinary, storeGuestBinary(paths, start.config.guestPath));
  GS_TRY(start.database, openAgentDatabase(paths));
  GS_TRY(const auto epoch, start.database.queryOne("SELECT value FROM agent_state WHERE key = 'link_epoch'", {},
                                                   [](const Row& row) { return row.text(0); }));
  if (epoch) start.lastEpoch = std::strtoull(epoch->c_str(), nullptr, 10);
  return start;
}

// Each sandbox costs a few descriptors, and the usual soft limit of 1,024 is for programs that use select().
void raiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) logWarn("file_limit_not_raised", {{"limit", limit.rlim_max}});
}

int runAgent(const Options& options) {
  raiseFileLimit();
  // Memory goes back to the system after a burst, and few arenas are made: the agent shares a host with its sandboxes.
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, 256 * 1024);
  auto start = prepareStart(options);
  if (!start) return report(start.error());
  asio::io_context loop(1);
  AgentDaemon daemon(loop, std::move(*start));
  const auto ended = runTask(loop, daemon.run());
  return ended ? 0 : report(ended.error());
}

Result<std::vector<Leak>> lookForLeaks(const Options& options) {
  GS_TRY(const auto config, loadConfig(options));
  const AgentPaths paths(config.stateDir, config.runDir);
  GS_TRY(const auto identity, loadIdentity(paths));
  asio::io_context loop;
  DockerRuntime docker(loop.get_executor(), DockerSettings{config.dockerSocket});
  const auto current = storedGuestPath(paths, config.guestPath);
  GS_TRY(const auto picture, runTask(loop, takePicture(paths, identity.hostId, docker, current.value_or(""),
                                                       Deadline::after(Millis(30'000)))));
  return findLeaks(picture, Millis(options.minimumAgeSeconds * 1000));
}

// 0: none; 1: there are; 2: it could not be found out.
int runLeaks(const Options& options) {
  const auto found = lookForLeaks(options);
  if (!found) return report(found.error()) + 1;
  const auto leaks = std::ranges::count_if(*found, [](const Leak& leak) { return weightOf(leak.kind) == LeakWeight::kLeak; });
  if (options.json) {
    fmt::print("{}\n", leaksAsJson(*found));
  } else {
    for (const auto& leak : *found) {
      fmt::print("{}  {:<26} {}  ({})\n", weightOf(leak.kind) == LeakWeight::kLeak ? "LEAK" : "note",
                 leakKindName(leak.kind), leak.what, leak.detail);
    }
    if (leaks == 0) fmt::print("ok    nothing is here that should not be, and nothing is missing\n");
  }
  return leaks == 0 ? 0 : 1;
}

int runDoctor(const Options& options) {
  if (options.leaks) return runLeaks(options);
  const auto config = loadConfig(options);
  if (!config) return report(config.error());
  const AgentPaths paths(config->stateDir, config->runDir);
  int problems = 0;
  const auto say = [&problems](std::string_view what, bool fine, std::string_view detail) {
    fmt::print("{}  {:<10} {}\n", fine ? "ok  " : "BAD ", what, detail);
    if (!fine) ++problems;
  };
  const auto identity = loadIdentity(paths);
  say("identity", identity.has_value(), identity ? identity->hostId.text() : identity.error().describe());
  const bool guest = std::filesystem::exists(config->guestPath);
  say("guest", guest, config->guestPath + (guest ? "" : " is missing"));
  asio::io_context loop;
  DockerRuntime docker(loop.get_executor(), DockerSettings{config->dockerSocket});
  const auto health = runTask(loop, docker.health(Deadline::after(Millis(5000))));
  say("docker", health.health.state == RuntimeState::kHealthy,
      health.health.reason.empty() ? health.health.version : health.health.reason);
  for (const auto& condition : health.conditions) fmt::print("note  {}: {}; {}\n", condition.code, condition.message, condition.fix);
  return problems == 0 ? 0 : 1;
}

int runDeletions(const Options& options) {
  const auto config = loadConfig(options);
  if (!config) return report(config.error());
  const AgentPaths paths(config->stateDir, config->runDir);
  const auto held = readDestructions(paths, Destruction::kHeld);
  if (!held) return report(held.error());
  if (!options.deletionAnswer) {
    const auto refused = readDestructions(paths, Destruction::kRefused);
    if (!refused) return report(refused.error());
    fmt::print("{}", describeHeld(*held, *refused));
    return 0;
  }
  if (const auto answered = answerOnHost(paths, *options.deletionAnswer, *held, options.fence); !answered) return report(answered.error());
  const bool released = *options.deletionAnswer == Destruction::kReleased;
  fmt::print("{}: the agent {} {} within a few seconds, or at its next start\n", released ? "confirmed" : "rejected",
             released ? "deletes" : "lets go on", held->size());
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"gstacks-agent makes this machine a host of a GlobalStacks cluster."};
  app.set_version_flag("--version", std::string(versionString()));
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  auto* configOption = app.add_option("--config", options.configFile, "Configuration file")->capture_default_str();
  app.add_option("--state-dir", options.stateDir, "Where identity, journal and cache live (/var/lib/gstacks/agent)");
  app.add_option("--run-dir", options.runDir, "Where sockets live (/run/gstacks/agent)");

  auto* enrollCommand = app.add_subcommand("enroll", "Join a cluster with a provisioning token, once");
  enrollCommand->add_option("--server", options.server, "The control plane's agent address, https://HOST:8443")->required();
  enrollCommand->add_option("--token-file", options.tokenFile, "File with the provisioning token; - is standard input")->required();
  enrollCommand->add_option("--name", options.name, "Name of this host in the cluster (its host name by default)");

  auto* runCommand = app.add_subcommand("run", "Run the agent in the foreground, until SIGTERM");
  auto* doctorCommand = app.add_subcommand("doctor", "Check what the agent needs on this host");
  for (auto* command : {runCommand, doctorCommand}) {
    command->add_option("--docker-socket", options.dockerSocket, "Docker Engine API socket (/var/run/docker.sock)");
    command->add_option("--guest", options.guestPath, "The gstacks-guest program (beside this one by default)");
  }
  auto* leaksFlag = doctorCommand->add_flag(
      "--leaks", options.leaks, "Compare journal, containers and files, and report what does not belong; changes nothing");
  doctorCommand->add_flag("--json", options.json, "Report as JSON")->needs(leaksFlag);
  doctorCommand->add_option("--min-age", options.minimumAgeSeconds, "Leave out what is younger, in seconds")
      ->needs(leaksFlag)->check(CLI::NonNegativeNumber)->capture_default_str();
  auto* deletionsCommand = app.add_subcommand("deletions", "Deletions that wait because too many were wished at once");
  deletionsCommand->require_subcommand(1);
  deletionsCommand->add_subcommand("list", "Show them, with the id to confirm them by");
  const auto addAnswer = [&](const std::string& name, const std::string& description, Destruction answer) {
    auto* command = deletionsCommand->add_subcommand(name, description);
    command->add_option("--fence", options.fence, "The id that `deletions list` shows")->required();
    command->callback([&options, answer] { options.deletionAnswer = answer; });
  };
  addAnswer("confirm", "Let exactly these go on", Destruction::kReleased);
  addAnswer("reject", "Carry none of exactly these out, until they are wished anew", Destruction::kRefused);
  auto* versionCommand = app.add_subcommand("version", "Print the version");

  CLI11_PARSE(app, argc, argv);
  options.configGiven = configOption->count() > 0;
  ::signal(SIGPIPE, SIG_IGN);
  if (versionCommand->parsed()) {
    fmt::print("{}\n", versionString());
    return 0;
  }
  if (enrollCommand->parsed()) {
    const auto identity = enroll(options);
    if (!identity) return report(identity.error());
    fmt::print("enrolled as {} ({}) in cluster {}\n", identity->hostName, identity->hostId.text(),
               identity->clusterId.text());
    return 0;
  }
  if (deletionsCommand->parsed()) return runDeletions(options);
  if (doctorCommand->parsed()) return runDoctor(options);
  return runAgent(options);
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

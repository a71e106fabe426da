#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/sandbox_wait.h"

namespace gs::cli {
namespace {

struct ListArgs {
  std::string host;
  std::string state;
};

Result<int> listSandboxes(Context& context, const ListArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  Query query;
  if (!args.host.empty()) {
    GS_TRY(const std::string host, resolveId(*api, kHosts, args.host));
    query.emplace_back("hostId", host);
  }
  if (!args.state.empty()) query.emplace_back("state", args.state);
  GS_TRY(auto sandboxes, api->list("/api/sandboxes", std::move(query)));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(sandboxes)), 0;
  if (out.isQuiet()) {
    for (const auto& sandbox : sandboxes) out.line(textAt(sandbox, "id"));
    return 0;
  }
  if (sandboxes.empty()) {
    out.note("no sandboxes: make one with gstacks sandbox create --blueprint NAME");
    return 0;
  }
  const auto hosts = namesById(*api, kHosts);
  Table table({{"NAME"},
               {"ID"},
               {"STATE"},
               {"BLUEPRINT"},
               {"HOST"},
               {"CPU", Align::kRight},
               {"MEMORY", Align::kRight},
               {"CREATED"},
               {"REASON"}});
  for (const auto& sandbox : sandboxes) {
    table.add({textAt(sandbox, "name"), textAt(sandbox, "id"), stateCell(textAt(sandbox, "state")),
               textAt(sandbox, "blueprint.name"), nameOr(hosts, textAt(sandbox, "hostId")),
               formatCpu(static_cast<std::uint64_t>(numberAt(sandbox, "resources.cpuMillis"))),
               formatBytes(static_cast<std::uint64_t>(numberAt(sandbox, "resources.memoryBytes"))),
               formatAge(textAt(sandbox, "createdAt"), context.now()), textAt(sandbox, "reason")});
  }
  out.table(table);
  return 0;
}

std::string exitText(const Json& sandbox, WallTime now) {
  if (!has(sandbox, "exit")) return {};
  std::string text = "ended";
  if (has(sandbox, "exit.code")) text = fmt::format("code {}", numberAt(sandbox, "exit.code"));
  if (has(sandbox, "exit.signal")) text = fmt::format("signal {}", textAt(sandbox, "exit.signal"));
  const std::string cause = textAt(sandbox, "exit.cause");
  if (cause.empty() && truthAt(sandbox, "exit.oomKilled")) text += ", out of memory";
  if (!cause.empty()) text += ", " + cause;
  if (has(sandbox, "exit.by")) text += " by " + textAt(sandbox, "exit.by");
  return fmt::format("{}, {}", text, formatAge(textAt(sandbox, "exit.at"), now));
}

std::string restartText(const Json& sandbox) {
  if (!has(sandbox, "restart")) return {};
  std::string mode = textAt(sandbox, "restart.mode");
  if (mode == "on_failure") mode = "on failure";
  const auto done = numberAt(sandbox, "restarts");
  if (has(sandbox, "restart.maxRestarts")) return fmt::format("{}, {} of {} done", mode, done, numberAt(sandbox, "restart.maxRestarts"));
  return fmt::format("{}, {} done", mode, done);
}

void showSandbox(Context& context, ApiClient& api, const Json& sandbox) {
  const auto when = [&](std::string_view key) {
    const std::string time = textAt(sandbox, key);
    return time.empty() ? time : formatMoment(time, context.now());
  };
  Properties p;
  p.add("Name", textAt(sandbox, "name"));
  p.add("Id", textAt(sandbox, "id"));
  p.add("State", stateCell(textAt(sandbox, "state")));
  if (textAt(sandbox, "desiredState") != textAt(sandbox, "state")) p.add("Wanted", textAt(sandbox, "desiredState"));
  p.add("Reason", textAt(sandbox, "reason"));
  p.add("Message", textAt(sandbox, "message"));
  p.add("Exit", exitText(sandbox, context.now()));
  p.add("Restart", restartText(sandbox));
  p.add("Blueprint", fmt::format("{} ({})", textAt(sandbox, "blueprint.name"), textAt(sandbox, "blueprint.digest")));
  p.add("Host", nameOr(namesById(api, kHosts), textAt(sandbox, "hostId")));
  p.add("Runtime", textAt(sandbox, "runtime"));
  p.add("CPUs", formatCpu(static_cast<std::uint64_t>(numberAt(sandbox, "resources.cpuMillis"))));
  p.add("Memory", formatBytes(static_cast<std::uint64_t>(numberAt(sandbox, "resources.memoryBytes"))));
  p.add("Processes", fmt::format("{}", numberAt(sandbox, "resources.pids")));
  p.add("Command", has(sandbox, "command")
                       ? Json(linesAt(sandbox, "command")).dump(-1, ' ', false, Json::error_handler_t::replace)
                       : std::string("none: waits for exec"));
  p.add("Directory", textAt(sandbox, "workingDir"));
  p.add("User", textAt(sandbox, "user"));
  if (has(sandbox, "archive")) {
    p.add("Archived", fmt::format("{}, {} of its own", when("archive.archivedAt"),
                                  formatBytes(static_cast<std::uint64_t>(numberAt(sandbox, "archive.layerBytes")))));
  }
  p.add("Created", when("createdAt"));
  p.add("Started", when("startedAt"));
  p.add("Changed", when("updatedAt"));
  if (has(sandbox, "onDisconnect")) {
    p.add("Disconnect", "stopped after " + formatDuration(Seconds(numberAt(sandbox, "onDisconnect.stopAfterSeconds"))) + " without the server");
  }
  p.add("Expires", when("expiresAt"));
  if (has(sandbox, "idleStopSeconds")) {
    p.add("Idle stop", "after " + formatDuration(Seconds(numberAt(sandbox, "idleStopSeconds"))) + " without a session");
  }
  p.addBlock("Environment", linesAt(sandbox, "env"));
  std::vector<std::string> waits;
  if (has(sandbox, "placement")) {
    for (const auto& host : sandbox["placement"].value("hosts", Json::array())) {
      waits.push_back(fmt::format("{}: {}", textAt(host, "name"), truthAt(host, "fits") ? "fits" : textAt(host, "detail")));
    }
    if (has(sandbox, "placement.fix")) waits.push_back("fix: " + textAt(sandbox, "placement.fix"));
  }
  p.addBlock("Waits for a host", waits);
  context.out().properties(p);
}

Result<int> sandboxInfo(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(Json sandbox, fetchResource(*api, kSandboxes, reference));
  // A list does not say why one waits.
  if (textAt(sandbox, "state") == "requested" && !has(sandbox, "placement")) {
    GS_TRY(sandbox, api->get(resourcePath(kSandboxes, textAt(sandbox, "id"))));
  }
  if (context.out().isJson()) {
    context.out().json(sandbox);
  } else if (context.out().isQuiet()) {
    context.out().line(textAt(sandbox, "id"));
  } else {
    showSandbox(context, *api, sandbox);
  }
  return 0;
}

struct LifetimeArgs {
  std::string sandbox;
  std::optional<Millis> ttl;
  std::optional<Millis> idleStop;
};

// "8h", or "never".
Status parseLifetime(const std::string& text, std::optional<Millis>& target) {
  if (text == "never") return target = Millis(0), Status();
  GS_TRY(target, parseDuration(text));
  return {};
}

Result<int> setLifetime(Context& context, const LifetimeArgs& args) {
  if (!args.ttl && !args.idleStop) {
    return fail(makeError(ErrorCode::kInvalidArgument, "nothing to change").withFix("give --ttl, --idle-stop, or both"));
  }
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Json body = Json::object();
  if (args.ttl) body["ttlSeconds"] = args.ttl->count() / 1000;
  if (args.idleStop) body["idleStopSeconds"] = args.idleStop->count() / 1000;
  GS_TRY(const Json sandbox, api->post(resourcePath(kSandboxes, id) + "/lifetime", body));
  Output& out = context.out();
  if (out.isJson()) return out.json(sandbox), 0;
  if (out.isQuiet()) return out.line(id), 0;
  const std::string expiry = textAt(sandbox, "expiresAt");
  const auto idle = numberAt(sandbox, "idleStopSeconds");
  out.line(fmt::format("Sandbox {} {}, {}.", textAt(sandbox, "name"),
                       expiry.empty() ? "does not expire" : "expires " + formatMoment(expiry, context.now()),
                       idle == 0 ? std::string("is not stopped when idle") : "is stopped after " + formatDuration(Seconds(idle)) + " without a session"));
  return 0;
}

struct ChangeArgs {
  std::string sandbox;
  bool wait = true;
  std::optional<Millis> grace;
  std::string blueprint;
  std::string host;
};

int showChange(Context& context, const Json& sandbox, std::string_view what) {
  Output& out = context.out();
  if (out.isJson()) {
    out.json(sandbox);
  } else {
    out.line(out.isQuiet() ? textAt(sandbox, "id")
                           : fmt::format("Sandbox {} {} ({}).", textAt(sandbox, "name"), what, textAt(sandbox, "id")));
  }
  return 0;
}

Result<int> startSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  GS_TRY(Json sandbox, api->post(resourcePath(kSandboxes, id) + "/start"));
  if (!args.wait) return showChange(context, sandbox, "starts");
  GS_TRY(const Json running, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kRunning));
  return showChange(context, running, "runs");
}

Result<int> stopSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Json body = Json::object();
  if (args.grace) body["graceMs"] = args.grace->count();
  GS_TRY(Json sandbox, api->post(resourcePath(kSandboxes, id) + "/stop", body));
  if (!args.wait) return showChange(context, sandbox, "stops");
  GS_TRY(const Json stopped, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kStopped));
  return showChange(context, stopped, "is stopped");
}

Result<int> reprovisionSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Json body = Json::object();
  if (args.grace) body["graceMs"] = args.grace->count();
  if (!args.blueprint.empty()) body["blueprint"] = args.blueprint;
  GS_TRY(Json sandbox, api->post(resourcePath(kSandboxes, id) + "/reprovision", body));
  if (!args.wait) return showChange(context, sandbox, "gets a fresh root file system");
  GS_TRY(const Json running, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kRunning));
  return showChange(context, running, "runs with a fresh root file system");
}

Result<int> archiveSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Json body = Json::object();
  if (args.grace) body["graceMs"] = args.grace->count();
  GS_TRY(Json sandbox, api->post(resourcePath(kSandboxes, id) + "/archive", body));
  if (!args.wait) return showChange(context, sandbox, "is being archived");
  GS_TRY(const Json archived, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kArchived));
  return showChange(context, archived, "is archived");
}

Result<int> restoreSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Json body = Json::object();
  if (!args.host.empty()) {
    GS_TRY(body["hostId"], resolveId(*api, kHosts, args.host));
  }
  GS_TRY(Json sandbox, api->post(resourcePath(kSandboxes, id) + "/restore", body));
  if (!args.wait) return showChange(context, sandbox, "is being restored");
  GS_TRY(const Json running, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kRunning));
  return showChange(context, running, "is restored and runs");
}

Result<int> deleteSandbox(Context& context, const ChangeArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  GS_TRY(const Json sandbox, api->remove(resourcePath(kSandboxes, id)));
  if (!args.wait) return showChange(context, sandbox, "is being deleted");
  GS_TRY(const Json gone, waitForSandbox(context, *api, sandbox, WaitGoal::kGone));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"deleted", true}}), 0;
  return showChange(context, sandbox, "is deleted");
}

}  // namespace

void addCreateCommand(Command& sandbox);  // sandbox_create.cc
void addEventsCommand(Command& sandbox);  // sandbox_events.cc
void addLogsCommand(Command& sandbox);    // sandbox_logs.cc

void addSandboxCommands(Command& root) {
  Command& group = root.add("sandbox", "Create, use and manage sandboxes");
  addCreateCommand(group);
  addExecCommand(group);
  addShellCommand(group);
  addFileCommands(group);
  addSessionCommands(group);
  {
    const auto args = std::make_shared<ListArgs>();
    Command& list = group.add("list", "List sandboxes");
    list.option("--host-id", "HOST", args->host, "Only sandboxes on this host (id or name)");
    list.option("--state", "STATE", args->state, "Only sandboxes in this state")
        .oneOf({"requested", "placing", "provisioning", "starting", "running", "stopped", "archived", "failed",
                "deleting", "unknown"});
    list.run([args](Context& context) { return listSandboxes(context, *args); });
  }
  {
    const auto reference = std::make_shared<std::string>();
    Command& info = group.add("info", "Show one sandbox: state and why, limits, workload");
    info.argument("SANDBOX", *reference, "Id or name of the sandbox");
    info.run([reference](Context& context) { return sandboxInfo(context, *reference); });
  }
  addEventsCommand(group);
  addLogsCommand(group);
  {
    const auto args = std::make_shared<LifetimeArgs>();
    Command& lifetime = group.add("lifetime", "Change when a sandbox is deleted, and when it is stopped for want of use");
    lifetime.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
    lifetime.option(
        "--ttl", "DURATION", [args](const std::string& text) { return parseLifetime(text, args->ttl); },
        "Delete it so long from now: 8h, 7d, or never");
    lifetime.option(
        "--idle-stop", "DURATION", [args](const std::string& text) { return parseLifetime(text, args->idleStop); },
        "Stop it after so long without a session: 30m, or never");
    lifetime.run([args](Context& context) { return setLifetime(context, *args); });
  }
  const auto addChange = [&group](std::string name, std::string summary, std::string_view goal,
                                  Result<int> (*action)(Context&, const ChangeArgs&)) -> Command& {
    const auto args = std::make_shared<ChangeArgs>();
    Command& command = group.add(std::move(name), std::move(summary));
    command.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
    addWaitFlags(command, args->wait, goal);
    if (action == reprovisionSandbox) {
      command.option("--blueprint", "BLUEPRINT", args->blueprint, "Another blueprint, by name, id or digest (default: the same)");
    }
    if (action == restoreSandbox) {
      command.option("--host-id", "HOST", args->host, "The host to use, id or name (default: where it may run)");
    }
    if (action == stopSandbox || action == reprovisionSandbox || action == archiveSandbox) {
      command.option(
          "--grace", "DURATION",
          [args](const std::string& text) -> Status {
            GS_TRY(args->grace, parseDuration(text));
            return {};
          },
          "Between TERM and KILL: 0 to 10m (default 10s)");
    }
    command.run([args, action](Context& context) { return action(context, *args); });
    return command;
  };
  addChange("stop", "Stop a sandbox; its disk contents stay", "it is stopped", stopSandbox);
  addChange("start", "Start a stopped or failed sandbox", "it runs", startSandbox);
  addChange("reprovision", "Make a sandbox's root file system anew; what was written into it is lost", "it runs", reprovisionSandbox);
  addChange("archive", "Put a sandbox away: what it wrote is kept, its host is free", "it is archived", archiveSandbox);
  addChange("restore", "Bring an archived sandbox back, on any host that fits", "it runs", restoreSandbox);
  addChange("delete", "Delete a sandbox and all that it has; cannot be taken back", "it is gone", deleteSandbox);
}

}  // namespace gs::cli

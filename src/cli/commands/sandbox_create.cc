#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/sandbox_wait.h"

namespace gs::cli {

void addCreateCommand(Command& sandbox);

namespace {

struct CreateArgs {
  std::string blueprint;
  std::string name;
  std::string host;
  std::string cluster;
  std::string runtime;
  std::string workingDir;
  std::string user;
  std::optional<std::uint32_t> cpuMillis;
  std::optional<std::uint64_t> memoryBytes;
  std::optional<std::int64_t> pids;
  std::vector<std::string> env;
  std::vector<std::string> traits;
  std::vector<std::string> tags;
  std::vector<std::string> command;
  Json restart;  // null: not given
  std::optional<Millis> disconnectStop;
  std::optional<Millis> ttl;
  std::optional<Millis> idleStop;
  bool wait = true;
  bool dryRun = false;
  bool waitForHost = false;
};

Result<Json> requestBody(ApiClient& api, const CreateArgs& args) {
  Json body{{"blueprint", args.blueprint}};
  const auto set = [&body](const char* key, const std::string& value) {
    if (!value.empty()) body[key] = value;
  };
  set("name", args.name);
  set("runtime", args.runtime);
  set("workingDir", args.workingDir);
  set("user", args.user);
  if (args.waitForHost) body["waitForHost"] = true;
  if (!args.command.empty()) body["command"] = args.command;
  if (!args.traits.empty()) body["requiredTraits"] = args.traits;
  GS_TRY(const Json tags, pairsToJson(args.tags, "--tag"));
  if (!tags.empty()) body["requiredTags"] = tags;
  GS_TRY(const Json env, pairsToJson(args.env, "--env"));
  if (!env.empty()) body["env"] = env;
  Json resources = Json::object();
  if (args.cpuMillis) resources["cpuMillis"] = *args.cpuMillis;
  if (args.memoryBytes) resources["memoryBytes"] = *args.memoryBytes;
  if (args.pids) resources["pids"] = *args.pids;
  if (!resources.empty()) body["resources"] = std::move(resources);
  if (!args.restart.is_null()) body["restart"] = args.restart;
  if (args.disconnectStop) body["onDisconnect"] = {{"stopAfterSeconds", args.disconnectStop->count() / 1000}};
  if (args.ttl) body["ttlSeconds"] = args.ttl->count() / 1000;
  if (args.idleStop) body["idleStopSeconds"] = args.idleStop->count() / 1000;
  if (!args.host.empty()) {
    GS_TRY(body["hostId"], resolveId(api, kHosts, args.host));
  }
  if (!args.cluster.empty()) {
    GS_TRY(body["clusterId"], resolveId(api, kClusters, args.cluster));
  }
  return body;
}

// Where it would go. That no host fits is the answer to the question, but an exit code that a script can use.
Result<int> showPlacement(Context& context, ApiClient& api, const Json& body) {
  constexpr int kNoHostFits = 5;
  GS_TRY(const Json placement, api.post("/api/placements", body));
  Output& out = context.out();
  const std::string chosen = textAt(placement, "hostId");
  const int code = chosen.empty() ? kNoHostFits : 0;
  if (out.isJson()) return out.json(placement), code;
  if (out.isQuiet()) {
    if (!chosen.empty()) out.line(chosen);
    return code;
  }
  Table table({{"HOST"}, {"ID"}, {"FITS"}, {"REASON"}, {"DETAIL"}});
  for (const auto& host : placement.value("hosts", Json::array())) {
    const std::string id = textAt(host, "hostId");
    table.add({textAt(host, "name"), id, id == chosen ? "chosen" : truthAt(host, "fits") ? "yes" : "no",
               textAt(host, "reason"), textAt(host, "detail")});
  }
  if (numberAt(placement, "hostCount") > 0) out.table(table);
  out.note(chosen.empty() ? "no host fits: " + textAt(placement, "fix") : std::string("nothing was created"));
  return code;
}

Result<int> createSandbox(Context& context, const CreateArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json body, requestBody(*api, args));
  if (args.dryRun) return showPlacement(context, *api, body);
  GS_TRY(Json sandbox, api->postOnce("/api/sandboxes", body));
  Output& out = context.out();
  // The id comes first and at once, so that a script has it whatever the wait brings.
  if (out.isQuiet() && !out.isJson()) out.line(textAt(sandbox, "id"));
  if (args.wait) {
    out.note(fmt::format("sandbox {} ({})", textAt(sandbox, "name"), textAt(sandbox, "id")));
    GS_TRY(sandbox, waitForSandbox(context, *api, std::move(sandbox), WaitGoal::kRunning));
  }
  if (out.isJson()) return out.json(sandbox), 0;
  if (out.isQuiet()) return 0;
  const std::string name = textAt(sandbox, "name");
  const std::string state = textAt(sandbox, "state");
  std::string what = args.wait ? "runs" : "is being made";
  if (args.wait && state == "stopped") what = "ran to its end";
  out.line(fmt::format("Sandbox {} {} ({}).", name, what, textAt(sandbox, "id")));
  if (state == "running") out.note(fmt::format("next: gstacks sandbox exec {} -- COMMAND", name));
  return 0;
}

Status parseCount(const std::string& text, std::optional<std::int64_t>& target) {
  if (text.empty() || text.size() > 9 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a whole number", text));
  }
  target = std::stoll(text);
  return {};
}

// "never", "on-failure", "on-failure:5", "always".
Status parseRestart(const std::string& text, Json& target) {
  const auto colon = text.find(':');
  const std::string mode = text.substr(0, colon);
  if (mode != "never" && mode != "on-failure" && mode != "always") {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is none of never, on-failure[:N], always", text));
  }
  target = Json{{"mode", mode == "on-failure" ? "on_failure" : mode}};
  if (colon == std::string::npos) return {};
  std::optional<std::int64_t> count;
  GS_CHECK(parseCount(text.substr(colon + 1), count));
  if (mode == "never") return fail(ErrorCode::kInvalidArgument, "never has no count");
  target["maxRestarts"] = *count;
  return {};
}

}  // namespace

void addCreateCommand(Command& sandbox) {
  const auto args = std::make_shared<CreateArgs>();
  Command& create = sandbox.add("create", "Create a sandbox from a blueprint");
  create.option("--blueprint", "BLUEPRINT", args->blueprint, "The image: name, id or digest").required();
  create.option("--name", "NAME", args->name, "Name, and host name inside (default: one is made up)");
  create.option("--host-id", "HOST", args->host, "On this host and no other (id or name)");
  create.option("--cluster", "CLUSTER", args->cluster, "On a host of this cluster (default: the default cluster)");
  create.option("--tag", "KEY=VALUE", args->tags, "Only on hosts with this tag");
  create.option("--trait", "TRAIT", args->traits, "Only on hosts with this trait, such as arm64 or kvm");
  create.option("--runtime", "RUNTIME", args->runtime, "What runs it; default docker, sbx is coming soon")
      .oneOf({"docker", "sbx"});
  create.option(
      "--cpu", "CPUS",
      [args](const std::string& text) -> Status {
        GS_TRY(args->cpuMillis, parseCpu(text));
        return {};
      },
      "CPU time: 2, 0.5, 500m (default 1)");
  create.option(
      "--memory", "SIZE",
      [args](const std::string& text) -> Status {
        GS_TRY(args->memoryBytes, parseBytes(text));
        return {};
      },
      "Memory: 512MiB, 2GiB (default 512MiB)");
  create.option(
      "--pids", "N", [args](const std::string& text) { return parseCount(text, args->pids); },
      "Processes and threads at a time (default 512)");
  create.option("-e,--env", "NAME=VALUE", args->env,
                "A variable for the workload and every exec; not a place for secrets");
  create.option("-w,--workdir", "DIR", args->workingDir, "Where the workload and every exec start");
  create.option("-u,--user", "USER", args->user, "Who they run as: name or number, with :group if wanted");
  create.option(
      "--restart", "POLICY", [args](const std::string& text) { return parseRestart(text, args->restart); },
      "When it ends by itself: never (the default), on-failure[:N], always[:N]; N times at most");
  const auto duration = [args, &create](std::string name, std::optional<Millis> CreateArgs::*member, std::string help) {
    create.option(
        std::move(name), "DURATION",
        [args, member](const std::string& text) -> Status {
          GS_TRY((*args).*member, parseDuration(text));
          return {};
        },
        std::move(help));
  };
  duration("--ttl", &CreateArgs::ttl, "Delete it this long after its creation: 8h, 7d (1m to 365d)");
  duration("--idle-stop", &CreateArgs::idleStop, "Stop it after so long without a session: 30m (1m to 365d)");
  duration("--stop-after-disconnect", &CreateArgs::disconnectStop,
           "Its host stops it when it cannot reach the server for so long: 10m (default: it runs on)");
  addWaitFlags(create, args->wait, "it runs");
  create.flag("--wait-for-host", args->waitForHost, "When no host fits, wait until one does instead of failing");
  create.flag("--dry-run", args->dryRun, "Only show where it would go and why not elsewhere; exit code 5 when nowhere");
  create.trailing("COMMAND", args->command, "The workload, without a shell. Absent: the sandbox waits for exec",
                  Need::kOptional);
  create.details(
      "With --wait the exit code is 5 when the sandbox fails and 6 when it takes longer than --timeout (default "
      "5m).\n\n"
      "Examples:\n"
      "  gstacks sandbox create --blueprint debian-12 --name scratch\n"
      "  gstacks sandbox create --blueprint debian-12 --memory 2GiB --cpu 2 -e PORT=8000 -- python3 -m http.server "
      "8000");
  create.run([args](Context& context) { return createSandbox(context, *args); });
}

}  // namespace gs::cli

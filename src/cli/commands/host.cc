#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

// `gstacks host info NAME` and `gstacks host info --host-id ID` mean the same.
struct HostRef {
  std::string positional;
  std::string option;

  [[nodiscard]] Result<std::string> get() const {
    if (positional.empty() == option.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  positional.empty() ? "which host? give its id or name" : "give the host once");
    }
    return positional.empty() ? option : positional;
  }
};

void addHostRef(Command& command, HostRef& ref) {
  command.argument("HOST", ref.positional, "Id or name of the host", Need::kOptional);
  command.option("--host-id", "HOST", ref.option, "The same as an option");
}

std::string runtimesText(const Json& host) {
  std::string text;
  const auto runtimes = host.find("runtimes");
  if (runtimes == host.end() || !runtimes->is_array()) return text;
  for (const auto& runtime : *runtimes) {
    if (textAt(runtime, "state") != "healthy") continue;
    text += fmt::format("{}{}", text.empty() ? "" : ",", textAt(runtime, "name"));
  }
  return text;
}

std::string usage(const Json& host, std::string_view free, std::string_view total) {
  if (!has(host, total)) return {};
  return fmt::format("{} free of {}", formatBytes(static_cast<std::uint64_t>(numberAt(host, free))),
                     formatBytes(static_cast<std::uint64_t>(numberAt(host, total))));
}

struct ListArgs {
  std::string cluster;
};

Result<int> listHosts(Context& context, const ListArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  Query query;
  if (!args.cluster.empty()) {
    GS_TRY(const std::string cluster, resolveId(*api, kClusters, args.cluster));
    query.emplace_back("clusterId", cluster);
  }
  GS_TRY(auto hosts, api->list("/api/hosts", std::move(query)));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(hosts)), 0;
  if (out.isQuiet()) {
    for (const auto& host : hosts) out.line(textAt(host, "id"));
    return 0;
  }
  if (hosts.empty()) {
    out.note("no hosts yet: make a token with gstacks token create, then run gstacks-agent enroll on a machine");
    return 0;
  }
  const auto clusters = namesById(*api, kClusters);
  Table table({{"NAME"},
               {"ID"},
               {"STATE"},
               {"CLUSTER"},
               {"ARCH"},
               {"CPUS", Align::kRight},
               {"MEMORY", Align::kRight},
               {"RUNTIMES"},
               {"SANDBOXES", Align::kRight},
               {"AGENT"},
               {"LAST SEEN"}});
  for (const auto& host : hosts) {
    table.add({textAt(host, "name"), textAt(host, "id"), stateCell(textAt(host, "state")),
               nameOr(clusters, textAt(host, "clusterId")), textAt(host, "architecture"),
               has(host, "cpuCount") ? fmt::format("{}", numberAt(host, "cpuCount")) : "",
               has(host, "memoryBytes") ? formatBytes(static_cast<std::uint64_t>(numberAt(host, "memoryBytes"))) : "",
               runtimesText(host), fmt::format("{}", numberAt(host, "sandboxCount")), textAt(host, "agentVersion"),
               formatAge(textAt(host, "lastSeenAt"), context.now())});
  }
  out.table(table);
  return 0;
}

std::vector<std::string> runtimeLines(const Json& host) {
  std::vector<std::string> lines;
  for (const auto& runtime : host.value("runtimes", Json::array())) {
    std::string line = fmt::format("{:<12} {}", textAt(runtime, "name"), textAt(runtime, "state"));
    if (has(runtime, "version")) line += " " + textAt(runtime, "version");
    if (has(runtime, "reason")) line += ": " + textAt(runtime, "reason");
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<std::string> conditionLines(const Json& host) {
  std::vector<std::string> lines;
  for (const auto& condition : host.value("conditions", Json::array())) {
    lines.push_back(fmt::format("{}: {}", textAt(condition, "code"), textAt(condition, "message")));
    if (has(condition, "fix")) lines.push_back("  fix: " + textAt(condition, "fix"));
  }
  return lines;
}

std::string loadText(const Json& host) {
  std::string text;
  for (const char* key : {"load1", "load5", "load15"}) {
    const auto found = host.find(key);
    if (found == host.end() || !found->is_number()) return {};
    text += fmt::format("{}{:.2f}", text.empty() ? "" : "  ", found->get<double>());
  }
  return text;
}

void showHost(Context& context, ApiClient& api, const Json& host) {
  const auto when = [&](std::string_view key) {
    const std::string time = textAt(host, key);
    return time.empty() ? time : formatMoment(time, context.now());
  };
  Properties p;
  p.add("Name", textAt(host, "name"));
  p.add("Id", textAt(host, "id"));
  p.add("State", stateCell(textAt(host, "state")));
  if (truthAt(host, "cordoned")) p.add("Cordoned", "yes: no new sandboxes");
  if (has(host, "failedCreations")) p.add("Failed creations", fmt::format("{} in a row", numberAt(host, "failedCreations")));
  if (has(host, "restsUntil")) p.add("Rests until", when("restsUntil"));
  p.add("Why disconnected", textAt(host, "disconnectReason"));
  p.add("Cluster", nameOr(namesById(api, kClusters), textAt(host, "clusterId")));
  p.add("Connected", when("connectedAt"));
  p.add("Last seen", when("lastSeenAt"));
  p.add("Agent", textAt(host, "agentVersion"));
  p.add("System", fmt::format("{} {}", textAt(host, "os.name"), textAt(host, "os.version")));
  p.add("Kernel", textAt(host, "kernel"));
  p.add("Architecture", textAt(host, "architecture"));
  if (has(host, "cpuCount")) {
    p.add("CPUs", has(host, "cpuModel") ? fmt::format("{} ({})", numberAt(host, "cpuCount"), textAt(host, "cpuModel"))
                                        : fmt::format("{}", numberAt(host, "cpuCount")));
  }
  p.add("Memory", usage(host, "memoryAvailableBytes", "memoryBytes"));
  p.add("Disk", usage(host, "diskFreeBytes", "diskBytes"));
  p.add("Load", loadText(host));
  if (has(host, "uptimeSeconds")) p.add("Uptime", formatDuration(Millis(numberAt(host, "uptimeSeconds") * 1000)));
  p.add("Sandboxes", fmt::format("{}", numberAt(host, "sandboxCount")));
  p.add("Traits", fmt::format("{}", fmt::join(linesAt(host, "traits"), ", ")));
  p.add("Enrolled", when("createdAt"));
  p.addBlock("Tags", linesAt(host, "tags"));
  p.addBlock("Runtimes", runtimeLines(host));
  p.addBlock("Conditions", conditionLines(host));
  context.out().properties(p);
}

Result<int> hostInfo(Context& context, const HostRef& ref) {
  GS_TRY(const std::string reference, ref.get());
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json host, fetchResource(*api, kHosts, reference));
  if (context.out().isJson()) {
    context.out().json(host);
  } else if (context.out().isQuiet()) {
    context.out().line(textAt(host, "id"));
  } else {
    showHost(context, *api, host);
  }
  return 0;
}

struct UpdateArgs {
  HostRef host;
  std::optional<std::string> name;
  std::vector<std::string> tags;
  std::vector<std::string> removedTags;
};

Result<int> updateHost(Context& context, const UpdateArgs& args) {
  GS_TRY(const std::string reference, args.host.get());
  GS_TRY(const Json changes, pairsToJson(args.tags, "--tag"));
  if (!args.name && args.tags.empty() && args.removedTags.empty()) {
    return fail(ErrorCode::kInvalidArgument, "nothing to change: give --name, --tag or --remove-tag");
  }
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json host, fetchResource(*api, kHosts, reference));
  Json body = Json::object();
  if (args.name) body["name"] = *args.name;
  if (!args.tags.empty() || !args.removedTags.empty()) {
    Json tags = host.value("tags", Json::object());
    for (const auto& tag : args.removedTags) tags.erase(tag);
    tags.update(changes);
    body["tags"] = std::move(tags);
  }
  GS_TRY(const Json updated, api->patch(resourcePath(kHosts, textAt(host, "id")), numberAt(host, "version"), body));
  if (context.out().isJson()) return context.out().json(updated), 0;
  if (context.out().isQuiet()) return context.out().line(textAt(updated, "id")), 0;
  context.out().line(fmt::format("Host {} updated. Tags: {}", textAt(updated, "name"),
                                 updated.value("tags", Json::object()).empty()
                                     ? "none"
                                     : fmt::format("{}", fmt::join(linesAt(updated, "tags"), ", "))));
  return 0;
}

enum class Rotation : std::uint8_t { kOut, kIn };

Result<int> setRotation(Context& context, const HostRef& ref, Rotation rotation) {
  GS_TRY(const std::string reference, ref.get());
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json host, fetchResource(*api, kHosts, reference));
  const Json body{{"cordoned", rotation == Rotation::kOut}};
  GS_TRY(const Json updated, api->patch(resourcePath(kHosts, textAt(host, "id")), numberAt(host, "version"), body));
  if (context.out().isJson()) return context.out().json(updated), 0;
  if (context.out().isQuiet()) return context.out().line(textAt(updated, "id")), 0;
  context.out().line(fmt::format("Host {} {}.", textAt(updated, "name"),
                                 rotation == Rotation::kOut ? "is cordoned: no new sandboxes on it" : "takes new sandboxes"));
  return 0;
}

struct DrainArgs {
  HostRef host;
  std::optional<Millis> grace;
};

Result<int> drainHost(Context& context, const DrainArgs& args) {
  GS_TRY(const std::string reference, args.host.get());
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kHosts, reference));
  Json body = Json::object();
  if (args.grace) body["graceMs"] = args.grace->count();
  GS_TRY(const Json host, api->post(resourcePath(kHosts, id) + "/drain", body));
  if (context.out().isJson()) return context.out().json(host), 0;
  if (context.out().isQuiet()) return context.out().line(id), 0;
  context.out().line(fmt::format("Host {} is cordoned and its sandboxes stop.", textAt(host, "name")));
  context.out().note(fmt::format("follow: gstacks sandbox list --host-id {0}; back: gstacks host uncordon {0}",
                                 textAt(host, "name")));
  return 0;
}

struct RemoveArgs {
  HostRef host;
  bool force = false;
};

Result<int> removeHost(Context& context, const RemoveArgs& args) {
  GS_TRY(const std::string reference, args.host.get());
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kHosts, reference));
  auto removed = api->remove(resourcePath(kHosts, id), args.force ? Query{{"force", "true"}} : Query{});
  if (!removed) {
    Error error = std::move(removed).error();
    if (error.code == ErrorCode::kFailedPrecondition && error.fix.empty()) {
      error.fix = "delete its sandboxes first, or give them up with --force";
    }
    return fail(std::move(error));
  }
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"removed", true}}), 0;
  context.out().line(context.out().isQuiet() ? id : fmt::format("Host {} removed.", reference));
  context.out().note("the machine itself is untouched: containers on it run until someone removes them there");
  return 0;
}

}  // namespace

void addHostCommands(Command& root) {
  Command& host = root.add("host", "Look at and manage enrolled machines");
  {
    const auto args = std::make_shared<ListArgs>();
    Command& list = host.add("list", "List hosts");
    list.option("--cluster", "CLUSTER", args->cluster, "Only hosts of this cluster");
    list.run([args](Context& context) { return listHosts(context, *args); });
  }
  {
    const auto ref = std::make_shared<HostRef>();
    Command& info = host.add("info", "Show one host: system, capacity, runtimes, conditions");
    addHostRef(info, *ref);
    info.run([ref](Context& context) { return hostInfo(context, *ref); });
  }
  {
    const auto args = std::make_shared<UpdateArgs>();
    Command& update = host.add("update", "Rename or tag a host");
    addHostRef(update, args->host);
    update.option("--name", "NAME", args->name, "New name");
    update.option("--tag", "KEY=VALUE", args->tags, "Set a tag");
    update.option("--remove-tag", "KEY", args->removedTags, "Remove a tag");
    update.details("Example:\n  gstacks host update rack-3-a --tag zone=rack-3 --remove-tag spare");
    update.run([args](Context& context) { return updateHost(context, *args); });
  }
  const auto addRotation = [&host](std::string name, std::string summary, Rotation rotation) {
    const auto ref = std::make_shared<HostRef>();
    Command& command = host.add(std::move(name), std::move(summary));
    addHostRef(command, *ref);
    command.run([ref, rotation](Context& context) { return setRotation(context, *ref, rotation); });
  };
  addRotation("cordon", "Keep new sandboxes away from a host; those on it go on", Rotation::kOut);
  addRotation("uncordon", "Let a host take new sandboxes again, and forgive failed ones", Rotation::kIn);
  {
    const auto args = std::make_shared<DrainArgs>();
    Command& drain = host.add("drain", "Cordon a host and stop the sandboxes on it; they stay there");
    addHostRef(drain, args->host);
    drain.option(
        "--grace", "DURATION",
        [args](const std::string& text) -> Status {
          GS_TRY(args->grace, parseDuration(text));
          return {};
        },
        "Between TERM and KILL: 0 to 10m (default 10s)");
    drain.run([args](Context& context) { return drainHost(context, *args); });
  }
  addHostRecoveryCommands(host);
  {
    const auto args = std::make_shared<RemoveArgs>();
    Command& remove = host.add("remove", "Remove a host: revokes its certificates and cuts its link at once");
    addHostRef(remove, args->host);
    remove.flag("--force", args->force, "Although sandboxes live on it; they become failed");
    remove.run([args](Context& context) { return removeHost(context, *args); });
  }
}

}  // namespace gs::cli

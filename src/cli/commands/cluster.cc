#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

Result<int> listClusters(Context& context) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(auto clusters, api->list("/api/clusters"));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(clusters)), 0;
  if (out.isQuiet()) {
    for (const auto& cluster : clusters) out.line(textAt(cluster, "id"));
    return 0;
  }
  Table table({{"NAME"}, {"ID"}, {"KIND"}, {"DEFAULT"}, {"HOSTS", Align::kRight}, {"CREATED"}});
  for (const auto& cluster : clusters) {
    table.add({textAt(cluster, "name"), textAt(cluster, "id"), textAt(cluster, "kind"),
               truthAt(cluster, "isDefault") ? "yes" : "", fmt::format("{}", numberAt(cluster, "hostCount")),
               formatAge(textAt(cluster, "createdAt"), context.now())});
  }
  out.table(table);
  return 0;
}

int showChange(Context& context, const Json& cluster, std::string_view what) {
  Output& out = context.out();
  if (out.isJson()) {
    out.json(cluster);
  } else {
    out.line(out.isQuiet() ? textAt(cluster, "id")
                           : fmt::format("Cluster {} {} ({}).", textAt(cluster, "name"), what, textAt(cluster, "id")));
  }
  return 0;
}

struct CreateArgs {
  std::string name;
  std::string kind = "byo";
};

Result<int> createCluster(Context& context, const CreateArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json cluster, api->post("/api/clusters", Json{{"name", args.name}, {"kind", args.kind}}));
  return showChange(context, cluster, "created");
}

struct RenameArgs {
  std::string cluster;
  std::string name;
};

Result<int> renameCluster(Context& context, const RenameArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json before, fetchResource(*api, kClusters, args.cluster));
  GS_TRY(const Json cluster, api->patch(resourcePath(kClusters, textAt(before, "id")), numberAt(before, "version"),
                                        Json{{"name", args.name}}));
  return showChange(context, cluster, "renamed");
}

Result<int> deleteCluster(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kClusters, reference));
  GS_TRY(const Json gone, api->remove(resourcePath(kClusters, id)));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"deleted", true}}), 0;
  context.out().line(context.out().isQuiet() ? id : fmt::format("Cluster {} deleted.", reference));
  return 0;
}

}  // namespace

void addClusterCommands(Command& root) {
  Command& cluster = root.add("cluster", "Manage pools of hosts");
  cluster.add("list", "List clusters").run([](Context& context) { return listClusters(context); });
  {
    const auto args = std::make_shared<CreateArgs>();
    Command& create = cluster.add("create", "Create an empty cluster");
    create.argument("NAME", args->name, "Lowercase letters, digits and hyphens, at most 63");
    create.option("--kind", "KIND", args->kind, "byo: machines enroll with tokens; managed: never; default byo")
        .oneOf({"byo", "managed"});
    create.run([args](Context& context) { return createCluster(context, *args); });
  }
  {
    const auto args = std::make_shared<RenameArgs>();
    Command& rename = cluster.add("rename", "Rename a cluster");
    rename.argument("CLUSTER", args->cluster, "Id or name of the cluster");
    rename.argument("NAME", args->name, "The new name");
    rename.run([args](Context& context) { return renameCluster(context, *args); });
  }
  {
    const auto reference = std::make_shared<std::string>();
    Command& remove = cluster.add("delete", "Delete a cluster without hosts; its tokens are revoked");
    remove.argument("CLUSTER", *reference, "Id or name of the cluster");
    remove.run([reference](Context& context) { return deleteCluster(context, *reference); });
  }
}

}  // namespace gs::cli

#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/standard_streams.h"

namespace gs::cli {
namespace {

struct CreateArgs {
  std::string cluster;
  std::string name;
  std::optional<std::int64_t> maxUses;
  std::optional<Millis> expiresIn;
  std::string file;
};

Result<int> createToken(Context& context, const CreateArgs& args) {
  // Before anything is made: a secret that cannot be written would be lost.
  std::optional<SecretFile> file;
  if (!args.file.empty()) {
    GS_TRY(auto created, SecretFile::create(args.file));
    file.emplace(std::move(created));
  }
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string cluster,
         args.cluster.empty() ? defaultClusterId(*api) : resolveId(*api, kClusters, args.cluster));
  Json body{{"clusterId", cluster}};
  if (!args.name.empty()) body["name"] = args.name;
  if (args.maxUses) body["maxUses"] = *args.maxUses;
  if (args.expiresIn) body["expiresInSeconds"] = args.expiresIn->count() / 1000;
  GS_TRY(Json token, api->post("/api/provisioning-tokens", body));
  const SecretString secret(textAt(token, "token"));
  if (file) {
    GS_CHECK(file->write(secret.reveal()));
    token.erase("token");
  }
  Output& out = context.out();
  if (out.isJson()) return out.json(token), 0;
  if (out.isQuiet()) return out.line(file ? textAt(token, "id") : secret.reveal()), 0;
  if (!file) out.line(secret.reveal());
  out.note(fmt::format("token {} enrolls {} host(s), ends {}", textAt(token, "id"), numberAt(token, "maxUses"),
                       formatAge(textAt(token, "expiresAt"), context.now())));
  out.note(file ? fmt::format("written to {} (0600)", args.file)
                : "it is shown this once; keep it in a file for the agent");
  out.note(fmt::format("on the machine: gstacks-agent enroll --server https://SERVER:8443 --token-file {}",
                       file ? args.file : "FILE"));
  return 0;
}

Result<int> listTokens(Context& context) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(auto tokens, api->list("/api/provisioning-tokens"));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(tokens)), 0;
  if (out.isQuiet()) {
    for (const auto& token : tokens) out.line(textAt(token, "id"));
    return 0;
  }
  const auto clusters = namesById(*api, kClusters);
  Table table({{"ID"}, {"NAME"}, {"STATE"}, {"CLUSTER"}, {"USES", Align::kRight}, {"EXPIRES"}, {"CREATED"}});
  for (const auto& token : tokens) {
    table.add({textAt(token, "id"), textAt(token, "name"), stateCell(textAt(token, "state")),
               nameOr(clusters, textAt(token, "clusterId")),
               fmt::format("{}/{}", numberAt(token, "uses"), numberAt(token, "maxUses")),
               formatAge(textAt(token, "expiresAt"), context.now()),
               formatAge(textAt(token, "createdAt"), context.now())});
  }
  out.table(table);
  return 0;
}

Result<int> revokeToken(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kTokens, reference));
  GS_TRY(const Json gone, api->remove(resourcePath(kTokens, id)));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"revoked", true}}), 0;
  context.out().line(context.out().isQuiet() ? id : fmt::format("Token {} revoked.", reference));
  return 0;
}

}  // namespace

void addTokenCommands(Command& root) {
  Command& token = root.add("token", "Manage provisioning tokens, with which machines enroll");
  {
    const auto args = std::make_shared<CreateArgs>();
    Command& create = token.add("create", "Create a provisioning token and show it once");
    create.option("--cluster", "CLUSTER", args->cluster,
                  "Cluster that the machines join (default: the default cluster)");
    create.option("--name", "NAME", args->name, "A name for people");
    create.option(
        "--max-uses", "N",
        [args](const std::string& text) -> Status {
          if (text.empty() || text.size() > 9 ||
              !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
            return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a whole number", text));
          }
          args->maxUses = std::stoll(text);
          return {};
        },
        "How many machines may enroll with it, 1 to 1000 (default 1)");
    create.option(
        "--expires-in", "DURATION",
        [args](const std::string& text) -> Status {
          GS_TRY(args->expiresIn, parseDuration(text));
          return {};
        },
        "Its life: 600, 10m, 24h, 7d; one minute to 30 days (default 1h)");
    create.option("--token-file", "FILE", args->file, "Write it to a new file (0600) instead of standard output")
        .file();
    create.details("Example:\n  gstacks token create --max-uses 20 --expires-in 24h --token-file token");
    create.run([args](Context& context) { return createToken(context, *args); });
  }
  token.add("list", "List provisioning tokens, without their secrets").run([](Context& context) {
    return listTokens(context);
  });
  {
    const auto reference = std::make_shared<std::string>();
    Command& revoke = token.add("revoke", "Revoke a provisioning token; hosts that enrolled with it stay");
    revoke.argument("TOKEN", *reference, "Id or name of the token");
    revoke.run([reference](Context& context) { return revokeToken(context, *reference); });
  }
}

}  // namespace gs::cli

#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/standard_streams.h"

namespace gs::cli {
namespace {

struct CreateArgs {
  std::string name;
  std::string role;
  std::string file;
};

Result<int> createKey(Context& context, const CreateArgs& args) {
  // Before anything is made: a secret that cannot be written would be lost.
  std::optional<SecretFile> file;
  if (!args.file.empty()) {
    GS_TRY(auto created, SecretFile::create(args.file));
    file.emplace(std::move(created));
  }
  GS_TRY(ApiClient* const api, context.api());
  Json body{{"name", args.name}};
  if (!args.role.empty()) body["role"] = args.role;
  GS_TRY(Json key, api->post("/api/api-keys", body));
  const SecretString secret(textAt(key, "key"));
  if (file) {
    GS_CHECK(file->write(secret.reveal()));
    key.erase("key");
  }
  Output& out = context.out();
  if (out.isJson()) return out.json(key), 0;
  if (out.isQuiet()) return out.line(file ? textAt(key, "id") : secret.reveal()), 0;
  if (!file) out.line(secret.reveal());
  out.note(fmt::format("key {} ({}) with role {}", textAt(key, "name"), textAt(key, "id"), textAt(key, "role")));
  out.note(file ? fmt::format("written to {} (0600)", args.file) : "it is shown this once; keep it safe");
  return 0;
}

Result<int> listKeys(Context& context) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(auto keys, api->list("/api/api-keys"));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(keys)), 0;
  if (out.isQuiet()) {
    for (const auto& key : keys) out.line(textAt(key, "id"));
    return 0;
  }
  Table table({{"NAME"}, {"ID"}, {"STATE"}, {"ROLE"}, {"LAST USED"}, {"CREATED"}});
  for (const auto& key : keys) {
    const std::string used = textAt(key, "lastUsedAt");
    table.add({textAt(key, "name"), textAt(key, "id"), stateCell(has(key, "revokedAt") ? "revoked" : "active"),
               textAt(key, "role"), used.empty() ? "never" : formatAge(used, context.now()),
               formatAge(textAt(key, "createdAt"), context.now())});
  }
  out.table(table);
  return 0;
}

Result<int> revokeKey(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kApiKeys, reference));
  GS_TRY(const Json gone, api->remove(resourcePath(kApiKeys, id)));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"revoked", true}}), 0;
  context.out().line(context.out().isQuiet() ? id : fmt::format("API key {} revoked.", reference));
  return 0;
}

}  // namespace

void addApiKeyCommands(Command& root) {
  Command& group = root.add("api-key", "Manage API keys, with which people and programs call the API");
  {
    const auto args = std::make_shared<CreateArgs>();
    Command& create = group.add("create", "Create an API key and show it once");
    create.argument("NAME", args->name, "A name for people");
    create.option("--role", "ROLE", args->role, "What the key may do; default member")
        .oneOf({"viewer", "member", "admin"});
    create.option("--key-file", "FILE", args->file, "Write it to a new file (0600) instead of standard output").file();
    create.run([args](Context& context) { return createKey(context, *args); });
  }
  group.add("list", "List API keys, without their secrets").run([](Context& context) { return listKeys(context); });
  {
    const auto reference = std::make_shared<std::string>();
    Command& revoke = group.add("revoke", "Revoke an API key: requests with it are refused from now on");
    revoke.argument("KEY", *reference, "Id or name of the key");
    revoke.run([reference](Context& context) { return revokeKey(context, *reference); });
  }
}

}  // namespace gs::cli

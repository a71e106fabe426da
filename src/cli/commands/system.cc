#include <nlohmann/json.hpp>

#include "base/version.h"
#include "cli/commands/commands.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

Result<int> whoAmI(Context& context) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json identity, api->get("/api/whoami"));
  Output& out = context.out();
  if (out.isJson()) {
    out.json(identity);
  } else if (out.isQuiet()) {
    out.line(textAt(identity, "user.id"));
  } else {
    Properties properties;
    properties.add("User", fmt::format("{} ({})", textAt(identity, "user.email"), textAt(identity, "user.id")));
    properties.add("Tenant", fmt::format("{} ({})", textAt(identity, "tenant.name"), textAt(identity, "tenant.id")));
    properties.add("Role", textAt(identity, "role"));
    properties.add("API key", textAt(identity, "apiKeyId"));
    properties.add("Server", api->baseUrl());
    out.properties(properties);
  }
  return 0;
}

struct VersionArgs {
  bool clientOnly = false;
};

Result<int> showVersion(Context& context, const VersionArgs& args) {
  Output& out = context.out();
  std::optional<std::string> server;
  std::optional<Error> problem;
  // Not being logged in is no fault here: then there is no server to ask.
  if (!args.clientOnly && context.login()) {
    GS_TRY(ApiClient* const api, context.api());
    auto answer = api->get("/api/version");
    if (answer) {
      server = textAt(*answer, "version");
    } else {
      problem = std::move(answer).error();
    }
  }
  if (out.isJson()) {
    Json result{{"client", {{"version", versionString()}}}};
    if (server) result["server"] = {{"version", *server}};
    out.json(result);
  } else {
    Properties properties;
    properties.add("Client", versionString());
    if (server) properties.add("Server", *server);
    out.properties(properties);
  }
  if (problem) return fail(std::move(*problem));
  return 0;
}

}  // namespace

void addSystemCommands(Command& root) {
  root.add("whoami", "Show whose key is in use").run([](Context& context) { return whoAmI(context); });
  const auto args = std::make_shared<VersionArgs>();
  Command& version = root.add("version", "Show the versions of this program and, when logged in, of the server");
  version.flag("--client", args->clientOnly, "Only this program's; asks no server");
  version.run([args](Context& context) { return showVersion(context, *args); });
}

}  // namespace gs::cli

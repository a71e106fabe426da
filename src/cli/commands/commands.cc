#include "cli/commands/commands.h"

#include "cli/quantities.h"

namespace gs::cli {

std::unique_ptr<Command> buildCommands(GlobalOptions& options) {
  auto root = std::make_unique<Command>("gstacks", "Drive GlobalStacks: hosts, blueprints and sandboxes");
  root->option("-o,--output", "FORMAT", options.output, "Tables for people, JSON for programs; default table")
      .oneOf({"table", "json"});
  root->flag("-q,--quiet", options.quiet, "Only ids and what was asked for; no notes, no progress");
  root->flag("--no-color", options.noColor, "No colours; the same as NO_COLOR=1");
  root->option(
      "--timeout", "DURATION",
      [&options](const std::string& text) -> Status {
        GS_TRY(const Millis timeout, parseDuration(text));
        if (timeout <= Millis(0)) return fail(ErrorCode::kInvalidArgument, "must be more than nothing");
        options.timeout = timeout;
        return {};
      },
      "For each request (default 30s), and for all of a --wait (default 5m)");
  root->option("--config-file", "FILE", options.configFile,
               "Where the login is kept (default ~/.config/gstacks/config.json)")
      .file();
  root->details(
      "Environment:\n"
      "  GSTACKS_API_KEY      API key to use instead of the stored one\n"
      "  GSTACKS_BASE_URL     server to use; a stored key is never sent to another server than its own\n"
      "  GSTACKS_CONFIG_FILE  as --config-file\n"
      "  GSTACKS_CA_FILE      CA certificates for an https server\n"
      "  NO_COLOR             as --no-color\n"
      "\n"
      "Exit codes:\n"
      "  0  done\n"
      "  1  failed otherwise\n"
      "  2  the command line, or what it names, is not valid\n"
      "  3  not logged in, or not allowed\n"
      "  4  no such thing\n"
      "  5  conflict: the name is taken, the state forbids it, a sandbox that was waited for failed\n"
      "  6  the server does not answer, or it took too long\n"
      "  sandbox exec: the program's own; 128+N when signal N ended it; 125 when it could not be run\n"
      "\n"
      "Errors go to standard error, with what to do about them; with --output json as one JSON object:\n"
      "  {\"error\":{\"code\":…,\"message\":…,\"exitCode\":…,\"fix\":…,\"reason\":…,\"requestId\":…,\"details\":[…]}}\n"
      "Wherever a thing is named, its id or its name will do.");
  addAuthCommands(*root);
  addSystemCommands(*root);
  addHostCommands(*root);
  addClusterCommands(*root);
  addTokenCommands(*root);
  addApiKeyCommands(*root);
  addBlueprintCommands(*root);
  addSandboxCommands(*root);
  addAuditCommands(*root);
  addCompletionCommand(*root);
  return root;
}

}  // namespace gs::cli

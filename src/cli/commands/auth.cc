#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/ids.h"
#include "cli/commands/commands.h"
#include "cli/resources.h"
#include "cli/standard_streams.h"

namespace gs::cli {
namespace {

struct LoginArgs {
  std::string baseUrl;
  std::string apiKey;
  std::string apiKeyFile;
  bool apiKeyStdin = false;
  std::string caFile;
};

// gsk_<20 characters of an id>_<43 characters of base64url>
bool looksLikeKey(std::string_view key) {
  if (key.size() != 4 + kIdChars + 1 + 43 || !key.starts_with("gsk_") || key[4 + kIdChars] != '_') return false;
  return isIdText("key", fmt::format("key_{}", key.substr(4, kIdChars))) &&
         fromBase64Url(key.substr(5 + kIdChars)).has_value();
}

Result<SecretString> takeKey(const LoginArgs& args) {
  const int given = int{!args.apiKey.empty()} + int{!args.apiKeyFile.empty()} + int{args.apiKeyStdin};
  if (given > 1) {
    return fail(ErrorCode::kInvalidArgument, "--api-key, --api-key-file and --api-key-stdin exclude each other");
  }
  if (!args.apiKey.empty()) return SecretString(args.apiKey);
  if (!args.apiKeyFile.empty()) return readSecretFile(args.apiKeyFile);
  if (args.apiKeyStdin) return readSecretFile("-");
  auto asked = askSecret("API key (not shown): ");
  if (!asked) return fail(std::move(asked).error().withFix("use --api-key-file FILE or --api-key-stdin"));
  return asked;
}

void warnOfPlainHttp(Context& context, const std::string& url) {
  const bool local =
      url.starts_with("http://127.") || url.starts_with("http://localhost") || url.starts_with("http://[::1]");
  if (url.starts_with("http://") && !local) {
    context.out().note(fmt::format("warning: {} is not encrypted; anyone on the way can read the API key", url));
  }
}

Result<int> logIn(Context& context, const LoginArgs& args) {
  GS_TRY(const std::string path, context.configPath());
  Login login;
  login.baseUrl = args.baseUrl.empty()
                      ? context.environment()("GSTACKS_BASE_URL").value_or(std::string(kDefaultBaseUrl))
                      : args.baseUrl;
  while (login.baseUrl.ends_with('/')) login.baseUrl.pop_back();
  login.caFile = args.caFile;
  GS_TRY(login.apiKey, takeKey(args));
  if (!looksLikeKey(login.apiKey.reveal())) {
    return fail(makeError(ErrorCode::kInvalidArgument, "that is not an API key")
                    .withFix("a key is gsk_, 20 characters, _ and 43 characters; gstacks api-key create makes one"));
  }
  warnOfPlainHttp(context, login.baseUrl);
  GS_TRY(auto api, ApiClient::make(login, context.requestTimeout()));
  auto identity = api->get("/api/whoami");
  if (!identity) {
    Error error = std::move(identity).error();
    if (error.code == ErrorCode::kUnauthenticated) error.fix = "ask an admin for a new key: gstacks api-key create";
    return fail(std::move(error));
  }
  GS_CHECK(saveLogin(path, login));
  if (context.out().isJson()) {
    Json result = std::move(*identity);
    result["baseUrl"] = login.baseUrl;
    result["configFile"] = path;
    context.out().json(result);
  } else if (!context.out().isQuiet()) {
    context.out().line(fmt::format("Logged in to {} as {} (tenant {}, role {}).", login.baseUrl,
                                   textAt(*identity, "user.email"), textAt(*identity, "tenant.name"),
                                   textAt(*identity, "role")));
    context.out().note(fmt::format("stored in {}", path));
  }
  return 0;
}

Result<int> logOut(Context& context) {
  GS_TRY(const std::string path, context.configPath());
  GS_TRY(const bool was, removeLogin(path));
  if (context.out().isJson()) {
    context.out().json(Json{{"removed", was}, {"configFile", path}});
  } else if (!context.out().isQuiet()) {
    context.out().line(was ? fmt::format("Removed {}.", path) : "Was not logged in.");
    if (was) context.out().note("the key itself stays valid; an admin ends it with gstacks api-key revoke");
  }
  return 0;
}

}  // namespace

void addAuthCommands(Command& root) {
  Command& auth = root.add("auth", "Log in and out");
  const auto args = std::make_shared<LoginArgs>();
  Command& login = auth.add("login", "Check an API key and store it");
  login.option("--base-url", "URL", args->baseUrl, fmt::format("Address of the server (default {})", kDefaultBaseUrl));
  login.option("--api-key", "KEY", args->apiKey,
               "The key. Others on this machine can see it in the process list: prefer the ways below");
  login.option("--api-key-file", "FILE", args->apiKeyFile, "Read the key from a file; - is standard input").file();
  login.flag("--api-key-stdin", args->apiKeyStdin, "Read the key from standard input");
  login.option("--ca-file", "FILE", args->caFile, "CA certificates for an https server (default: those of the system)")
      .file();
  login.details(
      "Without an option for the key it is asked for on the terminal, and not shown. The key is tried with whoami "
      "before\n"
      "anything is stored. The file holds the key in the clear and can be read by its owner only (0600).\n\n"
      "Examples:\n"
      "  gstacks auth login --api-key-file api-key\n"
      "  pass show gstacks | gstacks auth login --base-url https://gstacks.example.com --api-key-stdin");
  login.run([args](Context& context) { return logIn(context, *args); });
  auth.add("logout", "Forget the stored API key").run([](Context& context) { return logOut(context); });
}

}  // namespace gs::cli

#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

struct AdoptArgs {
  std::string host;
  std::string sandbox;
  std::optional<std::string> name;
};

Result<int> listAdoptable(Context& context, const AdoptArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kHosts, args.host));
  // One page, whatever its length.
  GS_TRY(const Json page, api->get(resourcePath(kHosts, id) + "/adoptable", {}));
  auto items = page.value("items", std::vector<Json>());
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(items)), 0;
  if (out.isQuiet()) {
    for (const auto& item : items) out.line(textAt(item, "id"));
    return 0;
  }
  if (items.empty()) {
    out.note("the server has a record of every sandbox on that host");
    return 0;
  }
  Table table({{"NAME"}, {"ID"}, {"STATE"}, {"WISH"}, {"GENERATION", Align::kRight}, {"BLUEPRINT"}, {"SINCE"}});
  for (const auto& item : items) {
    const bool here = has(item, "blueprint");
    table.add({textAt(item, "name"), textAt(item, "id"), stateCell(textAt(item, "state")), textAt(item, "desiredState"),
               fmt::format("{}", numberAt(item, "generation")),
               here ? textAt(item, "blueprint.name") : "not here: " + textAt(item, "blueprintDigest"),
               formatAge(textAt(item, "since"), context.now())});
  }
  out.table(table);
  out.note(fmt::format("adopt one: gstacks host adopt {} SANDBOX", args.host));
  return 0;
}

Result<int> adopt(Context& context, const AdoptArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kHosts, args.host));
  // A name is no key here: the server has no record that could resolve it, and the host's may be taken.
  if (!args.sandbox.starts_with("sbx_")) {
    return fail(makeError(ErrorCode::kInvalidArgument, "give the sandbox by its id")
                    .withFix(fmt::format("gstacks host adoptable {} lists the ids", args.host)));
  }
  Json body = Json::object();
  if (args.name) body["name"] = *args.name;
  auto adopted = api->post(fmt::format("{}/adoptable/{}", resourcePath(kHosts, id), args.sandbox), body);
  if (!adopted) {
    Error error = std::move(adopted).error();
    if (error.code == ErrorCode::kAlreadyExists && error.reason != "sandbox_known") error.fix = "give it another name with --name";
    return fail(std::move(error));
  }
  if (context.out().isJson()) return context.out().json(*adopted), 0;
  if (context.out().isQuiet()) return context.out().line(textAt(*adopted, "id")), 0;
  context.out().line(fmt::format("Sandbox {} is adopted; what runs in it goes on.", textAt(*adopted, "name")));
  return 0;
}

struct AnswerArgs {
  std::string host;
  std::string fence;
};

// To what its path says, by the admin who looked at what is held.
Result<int> answerDeletions(Context& context, const AnswerArgs& args, const std::string& path, std::string_view counted,
                            std::string_view outcome) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kHosts, args.host));
  GS_TRY(const Json done, api->post(resourcePath(kHosts, id) + path, Json{{"fence", args.fence}}));
  if (context.out().isJson()) return context.out().json(done), 0;
  if (context.out().isQuiet()) return context.out().line(id), 0;
  context.out().line(fmt::format("{} deletions {}.", numberAt(done, counted), outcome));
  return 0;
}

}  // namespace

void addHostRecoveryCommands(Command& host) {
  {
    const auto args = std::make_shared<AdoptArgs>();
    Command& adoptable = host.add("adoptable", "List sandboxes on a host that the server has no record of");
    adoptable.argument("HOST", args->host, "Id or name of the host");
    adoptable.details("There are such after the server's database was lost or restored from a backup.");
    adoptable.run([args](Context& context) { return listAdoptable(context, *args); });
  }
  {
    const auto args = std::make_shared<AdoptArgs>();
    Command& command = host.add("adopt", "Take a sandbox of a host into the server's records; it goes on as it is");
    command.argument("HOST", args->host, "Id or name of the host");
    command.argument("SANDBOX", args->sandbox, "Id of the sandbox, from gstacks host adoptable");
    command.option("--name", "NAME", args->name, "Another name than the one that it has");
    command.run([args](Context& context) { return adopt(context, *args); });
  }
  {
    const auto args = std::make_shared<AnswerArgs>();
    Command& confirm = host.add("confirm-deletions", "Let deletions go on that a host holds because they are too many at once");
    confirm.argument("HOST", args->host, "Id or name of the host");
    confirm.option("--fence", "ID", args->fence, "Which ones: the id in the host's condition deletions_held").required();
    confirm.details("Example:\n  gstacks host info rack-3-a\n  gstacks host confirm-deletions rack-3-a --fence 0123456789abcdef0123456789abcdef");
    confirm.run([args](Context& context) {
      return answerDeletions(context, *args, "/deletion-confirmations", "released", "go on");
    });
  }
  {
    const auto args = std::make_shared<AnswerArgs>();
    Command& reject = host.add("reject-deletions", "Refuse deletions that a host holds because they are too many at once");
    reject.argument("HOST", args->host, "Id or name of the host");
    reject.option("--fence", "ID", args->fence, "Which ones: the id in the host's condition deletions_held").required();
    reject.details("The sandboxes go on. Each is deleted only when that is wished again; starting or stopping it withdraws the wish.");
    reject.run([args](Context& context) {
      return answerDeletions(context, *args, "/deletion-rejections", "rejected", "are refused");
    });
  }
}

}  // namespace gs::cli

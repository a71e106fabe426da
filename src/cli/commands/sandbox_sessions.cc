#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/exec_session.h"
#include "cli/failure.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

struct AttachArgs {
  std::string sandbox;
  std::string session;
  bool view = false;
  bool takeOver = false;
};

Result<std::string> sessionsPath(ApiClient& api, const std::string& sandbox) {
  GS_TRY(const std::string id, resolveId(api, kSandboxes, sandbox));
  return resourcePath(kSandboxes, id) + "/sessions";
}

// "exit 0", "killed by TERM".
std::string endOf(const Json& session) {
  if (!has(session, "exit")) return "";
  const auto signal = textAt(session, "exit.signal");
  return signal.empty() ? fmt::format("exit {}", numberAt(session, "exit.code")) : "killed by " + signal;
}

Result<int> listSessions(Context& context, const std::string& sandbox) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const auto path, sessionsPath(*api, sandbox));
  GS_TRY(const Json page, api->get(path));
  auto sessions = page.value("items", std::vector<Json>());
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(sessions)), 0;
  if (out.isQuiet()) {
    for (const auto& session : sessions) out.line(textAt(session, "id"));
    return 0;
  }
  Table table({{"ID"}, {"STATE"}, {"PROGRAM"}, {"TERMINAL"}, {"VIEWERS", Align::kRight}, {"OUTPUT", Align::kRight}, {"END"}, {"CREATED"}});
  for (const auto& session : sessions) {
    const auto program = textAt(session, "program");
    const auto size = has(session, "terminal") ? fmt::format("{}x{}", numberAt(session, "terminal.columns"), numberAt(session, "terminal.rows")) : "";
    table.add({textAt(session, "id"), stateCell(textAt(session, "state")), program.empty() ? "(login shell)" : program, size,
               fmt::format("{}", numberAt(session, "viewers")), formatBytes(static_cast<std::uint64_t>(numberAt(session, "outputBytes"))), endOf(session),
               formatAge(textAt(session, "createdAt"), context.now())});
  }
  out.table(table);
  return 0;
}

Result<int> closeSession(Context& context, const std::string& sandbox, const std::string& session) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const auto path, sessionsPath(*api, sandbox));
  GS_TRY(const Json gone, api->remove(path + "/" + session));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", session}, {"closed", true}}), 0;
  context.out().line(context.out().isQuiet() ? session : fmt::format("Session {} is being hung up.", session));
  return 0;
}

Result<int> attach(Context& context, const AttachArgs& args) {
  if (args.view && args.takeOver) return fail(ErrorCode::kInvalidArgument, "--view and --take-over exclude each other");
  ExecRequest request;
  request.sandbox = args.sandbox;
  request.session = args.session;
  request.mode = args.view       ? ExecRequest::Mode::kView
                 : args.takeOver ? ExecRequest::Mode::kTakeOver
                                 : ExecRequest::Mode::kWrite;
  request.input = args.view ? StandardInput::kNone : StandardInput::kTerminal;
  request.connectTimeout = context.requestTimeout();
  GS_TRY(ApiClient* const api, context.api());
  return runExec(*api, std::move(request));
}

}  // namespace

void addSessionCommands(Command& sandbox) {
  {
    const auto args = std::make_shared<AttachArgs>();
    Command& command = sandbox.add("attach", "Join a session that runs in a sandbox");
    command.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
    command.argument("SESSION", args->session, "Id of the session, as `gstacks sandbox sessions` shows it");
    command.flag("--view", args->view, "Only watch: up to eight may");
    command.flag("--take-over", args->takeOver, "End the connection of the client that writes there now");
    command.details(
        "What it has written lately (256 KiB) is shown first. The exit code is the program's, also when it has ended within\n"
        "the last ten minutes. Escapes as in `gstacks sandbox ssh`: ~& leaves it running.\n\n"
        "Example: gstacks sandbox attach scratch $(gstacks sandbox exec -d -q scratch -- make all)");
    command.failsWith(kExitExecFailed);
    command.run([args](Context& context) { return attach(context, *args); });
  }
  {
    const auto name = std::make_shared<std::string>();
    Command& command = sandbox.add("sessions", "List the sessions in a sandbox that can be attached to");
    command.argument("SANDBOX", *name, "Id or name of the sandbox");
    command.run([name](Context& context) { return listSessions(context, *name); });
  }
  {
    const auto args = std::make_shared<AttachArgs>();
    Command& command = sandbox.add("close-session", "End a session in a sandbox");
    command.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
    command.argument("SESSION", args->session, "Id of the session");
    command.details("Its program is hung up, and killed two seconds later. One that has ended is forgotten.");
    command.run([args](Context& context) { return closeSession(context, args->sandbox, args->session); });
  }
}

}  // namespace gs::cli

#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/exec_session.h"
#include "cli/failure.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

constexpr Millis kLongestWait(60'000);  // of the contract
constexpr Seconds kLongestGrace(3'600);

struct ExecArgs {
  std::string sandbox;
  std::vector<std::string> env;
  std::string workingDir;
  std::string user;
  Millis wait{30'000};
  Seconds grace{60};
  bool interactive = false;
  bool terminal = false;
  bool detached = false;
  std::vector<std::string> command;
};

Result<int> execInSandbox(Context& context, const ExecArgs& args) {
  ExecRequest request;
  for (const auto& pair : args.env) {
    auto parsed = parsePair(pair);
    if (!parsed) return fail(ErrorCode::kInvalidArgument, "--env: " + parsed.error().message);
    request.env.push_back(std::move(*parsed));
  }
  request.sandbox = args.sandbox;
  request.argv = args.command;
  request.workingDir = args.workingDir;
  request.user = args.user;
  request.wait = args.wait;
  request.input = args.terminal      ? StandardInput::kTerminal
                  : args.interactive ? StandardInput::kPassed
                                     : StandardInput::kNone;
  request.connectTimeout = context.requestTimeout();
  request.grace = args.grace;
  GS_TRY(ApiClient* const api, context.api());
  if (!args.detached) return runExec(*api, std::move(request));
  GS_TRY(const auto session, beginDetached(*api, std::move(request)));
  if (context.out().isJson()) return context.out().json(Json{{"sessionId", session}}), 0;
  context.out().line(session);
  if (!context.out().isQuiet()) context.out().note(fmt::format("attach to it: gstacks sandbox attach {} {}", args.sandbox, session));
  return 0;
}

Result<int> openShell(Context& context, ExecArgs args, const std::string& command) {
  args.terminal = command.empty();
  args.interactive = true;
  if (!command.empty()) args.command = {"/bin/sh", "-c", command};
  return execInSandbox(context, args);
}

void addProcessOptions(Command& command, const std::shared_ptr<ExecArgs>& args) {
  command.option("-e,--env", "NAME=VALUE", args->env, "A variable for the program");
  command.option("-w,--workdir", "DIR", args->workingDir, "Where to run (default: the sandbox's)");
  command.option("-u,--user", "USER", args->user, "Who to run as (default: the sandbox's)");
  command.option(
      "--wait-running", "DURATION",
      [args](const std::string& text) -> Status {
        GS_TRY(args->wait, parseDuration(text));
        if (args->wait > kLongestWait) return fail(ErrorCode::kInvalidArgument, "at most 60s");
        return {};
      },
      "How long to wait for a sandbox that is starting, 60s at most (default 30s)");
  command.option(
      "--grace", "DURATION",
      [args](const std::string& text) -> Status {
        GS_TRY(const auto grace, parseDuration(text));
        args->grace = std::chrono::duration_cast<Seconds>(grace);
        if (args->grace > kLongestGrace) return fail(ErrorCode::kInvalidArgument, "at most 1h");
        return {};
      },
      "How long the program is kept when the connection breaks, 1h at most (default 60s)");
}

}  // namespace

void addShellCommand(Command& sandbox) {
  const auto args = std::make_shared<ExecArgs>();
  const auto command = std::make_shared<std::string>();
  Command& shell = sandbox.add("ssh", "Open a terminal in a sandbox");
  shell.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
  shell.option("--command", "COMMAND", *command, "Run this with /bin/sh instead, without a terminal");
  addProcessOptions(shell, args);
  shell.details(
      "It is the login shell of the user in the sandbox, or /bin/sh. No network and no SSH server take part: the\n"
      "terminal comes through the control plane and the host's agent. The exit code is the shell's.\n\n"
      "Escapes, after a new line: ~. ends the session (exit code 125), ~& leaves it running, ~^Z suspends gstacks,\n"
      "~? shows this list, ~~ is a tilde. A connection that breaks is made again, and the session goes on where it was;\n"
      "after --grace without one the terminal in the sandbox is hung up.\n\n"
      "Examples:\n"
      "  gstacks sandbox ssh scratch\n"
      "  gstacks sandbox ssh scratch --command 'df -h | head'");
  shell.failsWith(kExitExecFailed);
  shell.run([args, command](Context& context) { return openShell(context, *args, *command); });
}

void addExecCommand(Command& sandbox) {
  const auto args = std::make_shared<ExecArgs>();
  Command& exec = sandbox.add("exec", "Run a program in a sandbox, with its output and exit code");
  exec.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
  exec.trailing("COMMAND", args->command, "The program and its arguments, without a shell", Need::kRequired);
  exec.flag("-i,--interactive", args->interactive, "Pass standard input on to the program (else it is empty)");
  exec.flag("-t,--tty", args->terminal, "Give the program a terminal, which is joined to this one");
  exec.flag("-d,--detach", args->detached, "Leave it running and show the session's id");
  addProcessOptions(exec, args);
  exec.details(
      "The exit code is the program's, or 128 plus the number of the signal that ended it; 125 when it could not be "
      "run\n"
      "or the connection was lost for longer than --grace. INT and TERM are passed on to the program; the second one ends\n"
      "gstacks, and the program is hung up.\n\n"
      "Examples:\n"
      "  gstacks sandbox exec scratch -- sh -c 'id; uname -a'\n"
      "  tar c src | gstacks sandbox exec -i scratch -- tar x -C /tmp\n"
      "  gstacks sandbox exec -t scratch -- top\n"
      "  gstacks sandbox exec -d scratch -- make all");
  exec.failsWith(kExitExecFailed);
  exec.run([args](Context& context) { return execInSandbox(context, *args); });
}

}  // namespace gs::cli

#include "cli/commands/commands.h"
#include "cli/exec_session.h"
#include "cli/failure.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

constexpr Millis kLongestWait(60'000);  // of the contract

struct ExecArgs {
  std::string sandbox;
  std::vector<std::string> env;
  std::string workingDir;
  std::string user;
  Millis wait{30'000};
  bool interactive = false;
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
  request.input = args.interactive ? StandardInput::kPassed : StandardInput::kNone;
  request.connectTimeout = context.requestTimeout();
  GS_TRY(ApiClient* const api, context.api());
  return runExec(*api, std::move(request));
}

}  // namespace

void addExecCommand(Command& sandbox) {
  const auto args = std::make_shared<ExecArgs>();
  Command& exec = sandbox.add("exec", "Run a program in a sandbox, with its output and exit code");
  exec.argument("SANDBOX", args->sandbox, "Id or name of the sandbox");
  exec.trailing("COMMAND", args->command, "The program and its arguments, without a shell", Need::kRequired);
  exec.flag("-i,--interactive", args->interactive, "Pass standard input on to the program (else it is empty)");
  exec.option("-e,--env", "NAME=VALUE", args->env, "A variable for the program");
  exec.option("-w,--workdir", "DIR", args->workingDir, "Where to run (default: the sandbox's)");
  exec.option("-u,--user", "USER", args->user, "Who to run as (default: the sandbox's)");
  exec.option(
      "--wait-running", "DURATION",
      [args](const std::string& text) -> Status {
        GS_TRY(args->wait, parseDuration(text));
        if (args->wait > kLongestWait) return fail(ErrorCode::kInvalidArgument, "at most 60s");
        return {};
      },
      "How long to wait for a sandbox that is starting, 60s at most (default 30s)");
  exec.details(
      "The exit code is the program's, or 128 plus the number of the signal that ended it; 125 when it could not be "
      "run\n"
      "or the connection was lost. INT and TERM are passed on to the program; the second one ends gstacks, and the\n"
      "program is hung up.\n\n"
      "Examples:\n"
      "  gstacks sandbox exec scratch -- sh -c 'id; uname -a'\n"
      "  tar c src | gstacks sandbox exec -i scratch -- tar x -C /tmp");
  exec.failsWith(kExitExecFailed);
  exec.run([args](Context& context) { return execInSandbox(context, *args); });
}

}  // namespace gs::cli

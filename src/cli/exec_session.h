// Runs one program in a sandbox over the session WebSocket and joins its streams, or its terminal, to ours.
//
// The frames are in wire/session_frames.h, their meaning in openSession of openapi/openapi.yaml. Standard input is read
// and output written on threads of their own, because both may block for as long as they like (a terminal, a pager):
// the loop goes on meanwhile and signals get through. A slow reader of our output slows the program down.
// A session that the host can keep (reattach in the contract) survives a broken connection: it is attached to again for as
// long as its grace time, from the exact byte, and the person hears of it when that takes longer than a moment.
// Signals: before the program runs they end us as usual. Then the first INT or TERM is passed on to the program, the
// second ends us, and the server hangs the program up. With a terminal, keys are no signals here: they go to the program.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/api_client.h"

namespace gs::cli {

enum class StandardInput : std::uint8_t { kNone, kPassed, kTerminal };

struct ExecRequest {
  std::string sandbox;  // id or name
  std::vector<std::string> argv;  // empty, with a terminal: the login shell
  std::vector<std::pair<std::string, std::string>> env;
  std::string workingDir;
  std::string user;
  Millis wait{};  // for the sandbox to be running
  StandardInput input = StandardInput::kNone;
  Millis connectTimeout{};
  Seconds grace{60};  // 0..3600; how long a session is kept without us
  // Joins this session instead of beginning one; `input` kTerminal becomes kPassed when it has no terminal.
  std::string session;
  enum class Mode : std::uint8_t { kWrite, kTakeOver, kView } mode = Mode::kWrite;
};

// The program's exit code, or 128 plus the number of the signal that ended it. An Error when it could not be run or
// the connection was lost; then what the program did is not known.
[[nodiscard]] Result<int> runExec(ApiClient& api, ExecRequest request);
// Begins a session that runs without us, and gives its id. kFailedPrecondition: the host cannot.
[[nodiscard]] Result<std::string> beginDetached(ApiClient& api, ExecRequest request);

// "KILL" → 9, "RTMIN+3" → 37; 0 when unknown.
[[nodiscard]] int signalNumber(std::string_view name);

}  // namespace gs::cli

#include "cli/exec_session.h"

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <nlohmann/json.hpp>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/blocking_pool.h"
#include "async/task_group.h"
#include "cli/api_transport.h"
#include "cli/failure.h"
#include "cli/standard_streams.h"
#include "cli/terminal.h"
#include "wire/session_frames.h"

namespace gs::cli {
namespace {

// The server pings after 20 s without a byte from us and gives up after 60; ours lie in between and beyond, so that
// each side is heard by the other's rules.
constexpr WsKeepAlive kKeepAlive{.pingAfter = Millis(45'000), .dropAfter = Millis(120'000)};

struct SignalName {
  std::string_view name;
  int number;
};
constexpr std::array kSignals{
    SignalName{"HUP", SIGHUP},       SignalName{"INT", SIGINT},       SignalName{"QUIT", SIGQUIT},
    SignalName{"ILL", SIGILL},       SignalName{"TRAP", SIGTRAP},     SignalName{"ABRT", SIGABRT},
    SignalName{"BUS", SIGBUS},       SignalName{"FPE", SIGFPE},       SignalName{"KILL", SIGKILL},
    SignalName{"USR1", SIGUSR1},     SignalName{"SEGV", SIGSEGV},     SignalName{"USR2", SIGUSR2},
    SignalName{"PIPE", SIGPIPE},     SignalName{"ALRM", SIGALRM},     SignalName{"TERM", SIGTERM},
    SignalName{"STKFLT", SIGSTKFLT}, SignalName{"CHLD", SIGCHLD},     SignalName{"CONT", SIGCONT},
    SignalName{"STOP", SIGSTOP},     SignalName{"TSTP", SIGTSTP},     SignalName{"TTIN", SIGTTIN},
    SignalName{"TTOU", SIGTTOU},     SignalName{"URG", SIGURG},       SignalName{"XCPU", SIGXCPU},
    SignalName{"XFSZ", SIGXFSZ},     SignalName{"VTALRM", SIGVTALRM}, SignalName{"PROF", SIGPROF},
    SignalName{"WINCH", SIGWINCH},   SignalName{"IO", SIGIO},         SignalName{"POLL", SIGPOLL},
    SignalName{"PWR", SIGPWR},       SignalName{"SYS", SIGSYS},
};
// The C library keeps the kernel's first two for itself and starts SIGRTMIN after them.
constexpr int kRtMin = 34;
constexpr int kRtMax = 64;

Result<std::string> openPayload(const ExecRequest& request) {
  Json open{{"kind", "exec"}, {"sandboxId", request.sandbox}};
  if (!request.argv.empty()) open["argv"] = request.argv;
  if (request.input == StandardInput::kTerminal) {
    const auto size = RawTerminal::size();
    open["terminal"] = {{"rows", size.rows}, {"columns", size.columns}};
    if (const char* kind = ::secure_getenv("TERM"); kind != nullptr && *kind != '\0') open["env"]["TERM"] = kind;
  }
  for (const auto& [name, value] : request.env) open["env"][name] = value;
  if (!request.workingDir.empty()) open["workingDir"] = request.workingDir;
  if (!request.user.empty()) open["user"] = request.user;
  if (request.wait > Millis(0)) open["waitMs"] = request.wait.count();
  std::string text;
  try {
    text = open.dump();
  } catch (const Json::exception&) {
    return fail(ErrorCode::kInvalidArgument,
                "arguments and variables must be UTF-8: pass other bytes by standard input");
  }
  if (text.size() > kMaxSessionPayload) {
    return fail(makeError(ErrorCode::kInvalidArgument, "the command line is too long for one session")
                    .withFix("pass large data by standard input: gstacks sandbox exec -i"));
  }
  return text;
}

Result<int> exitCodeOf(std::string_view payload) {
  GS_TRY(const Json exit, parseJson(payload));
  GS_TRY(const auto code, findInteger(exit, "code"));
  if (code) return static_cast<int>(*code & 0xff);
  GS_TRY(const auto signal, findString(exit, "signal"));
  const int number = signalNumber(signal.value_or(""));
  return number == 0 ? 255 : kExitSignalBase + number;
}

// An upgrade that was refused comes as a message that ends with the problem document.
Error explainConnect(Error error, const std::string& baseUrl) {
  if (const auto brace = error.message.find('{'); brace != std::string::npos) {
    const auto problem = parseJson(std::string_view(error.message).substr(brace));
    if (problem && problem->is_object() && problem->contains("code")) return errorFromProblem(*problem);
  }
  error.message = fmt::format("cannot open a session at {}: {}", baseUrl, error.message);
  if (error.fix.empty() && error.code == ErrorCode::kUnavailable) error.fix = "check that gstacks-server runs there";
  return error;
}

Error explainEnd(const Error& error, const WsClose& closed, bool started) {
  if (closed.code >= 4400 && closed.code < 4600) {
    return makeError(codeFromStatus(closed.code - 4000), closed.reason.empty() ? "the session failed" : closed.reason);
  }
  const std::string what = closed.code == 1001 ? "the server is stopping" : "the session was cut: " + error.message;
  Error out = makeError(ErrorCode::kUnavailable, what);
  if (started) out.fix = "it is not known whether the program ran to its end: look before you run it again";
  return out;
}

class ExecSession {
 public:
  ExecSession(ApiClient& api, ExecRequest request)
      : api_(api), request_(std::move(request)), tasks_(api.transport().loop.get_executor()) {}

  Task<Result<int>> run() {
    if (request_.input == StandardInput::kTerminal) GS_CO_CHECK(RawTerminal::check());
    GS_CO_TRY(const std::string open, openPayload(request_));
    HttpClient::WebSocketRequest upgrade;
    upgrade.target = "/api/sessions";
    upgrade.subprotocol = kSessionSubprotocol;
    upgrade.headers = api_.transport().headers();
    upgrade.maxMessageBytes = kMaxSessionPayload + 1;
    upgrade.keepAlive = kKeepAlive;
    auto socket =
        co_await api_.transport().http->connectWebSocket(std::move(upgrade), Deadline::after(request_.connectTimeout));
    if (!socket) co_return fail(explainConnect(std::move(socket).error(), api_.baseUrl()));
    socket_ = std::move(*socket);

    auto outcome = co_await converse(open);
    terminal_.restore();
    interrupt_.raise();
    co_await tasks_.cancelAndJoin();
    if (outcome) co_await socket_->close(1000, "");
    co_return outcome;
  }

 private:
  Task<Result<int>> converse(std::string open) {
    if (auto sent = co_await socket_->write(makeSessionFrame(SessionFrameType::kOpen, open)); !sent) {
      co_return fail(explainEnd(sent.error(), socket_->closed(), started_));
    }
    if (request_.input != StandardInput::kTerminal) tasks_.spawn("stdin", sendInput());
    while (true) {
      auto message = co_await socket_->read();
      if (disconnected_) co_return kExitExecFailed;
      if (!message) co_return fail(explainEnd(message.error(), socket_->closed(), started_));
      const auto frame = parseSessionFrame(*message, SessionSide::kToClient);
      if (!frame) {
        co_await socket_->close(1002, frame.error().message);
        co_return fail(ErrorCode::kInternal, "the server broke the session protocol: " + frame.error().message);
      }
      switch (frame->type) {
        case SessionFrameType::kOpened:
          if (!started_) begin();
          started_ = true;
          break;
        case SessionFrameType::kStdout:
        case SessionFrameType::kStderr: {
          const int fd = frame->type == SessionFrameType::kStdout ? STDOUT_FILENO : STDERR_FILENO;
          GS_CO_CHECK(co_await output_.run(WriteWork{fd, std::move(*message)}));
          break;
        }
        case SessionFrameType::kExit:
          co_return exitCodeOf(frame->payload);
        case SessionFrameType::kError: {
          const auto problem = parseJson(frame->payload);
          if (!problem) co_return fail(ErrorCode::kInternal, "the session failed and the server did not say why");
          co_return fail(errorFromProblem(*problem));
        }
        default:
          break;  // parseSessionFrame lets no other through
      }
    }
  }

  void begin() {
    tasks_.spawn("signals", passSignalsOn());
    if (request_.input != StandardInput::kTerminal) return;
    // Not before: until the program runs, Ctrl-C ends us as it ends any command.
    terminal_.enter();
    tasks_.spawn("size", passSizesOn());
    tasks_.spawn("keys", sendKeys());
  }

  struct WriteWork {
    int fd;
    std::string frame;
    Status operator()() const { return writeFully(fd, std::string_view(frame).substr(1)); }
  };
  struct ReadWork {
    int wakeFd;
    Result<std::string> operator()() const { return readChunk(STDIN_FILENO, wakeFd, kMaxSessionPayload); }
  };

  Task<void> sendInput() {
    while (request_.input == StandardInput::kPassed) {
      auto chunk = co_await input_.run(ReadWork{interrupt_.fd()});
      // Cancelled, or unreadable: to the program both are the end of its input.
      if (!chunk || chunk->empty()) break;
      if (!co_await socket_->write(makeSessionFrame(SessionFrameType::kStdin, *chunk))) co_return;
    }
    static_cast<void>(co_await socket_->write(makeSessionFrame(SessionFrameType::kStdinEof, {})));
  }

  Task<void> sendKeys() {
    EscapeFilter filter;
    while (true) {
      const auto chunk = co_await input_.run(ReadWork{interrupt_.fd()});
      // Our terminal is gone, and whoever typed on it.
      if (!chunk || chunk->empty()) co_return disconnect();
      std::string_view keys = *chunk;
      for (auto action = EscapeFilter::Action::kHelp; action != EscapeFilter::Action::kNone;) {
        auto taken = filter.take(keys);
        keys = taken.rest;
        action = taken.action;
        if (!taken.typed.empty() && !co_await socket_->write(makeSessionFrame(SessionFrameType::kStdin, taken.typed))) co_return;
        switch (action) {
          case EscapeFilter::Action::kNone: break;
          case EscapeFilter::Action::kDisconnect: co_return disconnect();
          case EscapeFilter::Action::kHelp: static_cast<void>(writeFully(STDERR_FILENO, kEscapeHelp)); break;
          case EscapeFilter::Action::kSuspend:
            terminal_.restore();
            std::raise(SIGTSTP);
            terminal_.enter();
            co_await sendSize();
            break;
        }
      }
    }
  }

  // The server hangs the program up.
  void disconnect() {
    disconnected_ = true;
    socket_->abort();
  }

  Task<void> passSizesOn() {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGWINCH);
    // It may have changed since the open frame.
    co_await sendSize();
    while (true) {
      co_await signals.async_wait(asio::use_awaitable);
      co_await sendSize();
    }
  }

  Task<void> sendSize() {
    const auto frame = makeSessionFrame(SessionFrameType::kResize, terminalSizeJson(RawTerminal::size()));
    static_cast<void>(co_await socket_->write(frame));
  }

  Task<void> passSignalsOn() {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGINT, SIGTERM);
    for (int seen = 0;; ++seen) {
      const int number = co_await signals.async_wait(asio::use_awaitable);
      // Our connection ends with us, and then the server hangs the program up.
      if (seen > 0) {
        terminal_.restore();
        ::_exit(kExitSignalBase + number);
      }
      // Not awaited: it may have to wait behind input that the program does not read.
      tasks_.spawn("signal", sendSignal(number == SIGINT ? "INT" : "TERM"));
    }
  }

  Task<void> sendSignal(std::string name) {
    const Json payload{{"signal", name}};
    static_cast<void>(co_await socket_->write(makeSessionFrame(SessionFrameType::kSignal, payload.dump())));
  }

  ApiClient& api_;
  ExecRequest request_;
  TaskGroup tasks_;
  Interrupt interrupt_;
  std::shared_ptr<WebSocket> socket_;
  bool started_ = false;
  bool disconnected_ = false;  // by the person at the terminal
  RawTerminal terminal_;
  // Joined first when this ends, so nothing that their work uses is gone before.
  BlockingPool input_{1};
  BlockingPool output_{1};
};

}  // namespace

Result<int> runExec(ApiClient& api, ExecRequest request) {
  ExecSession session(api, std::move(request));
  return api.transport().run(session.run());
}

int signalNumber(std::string_view name) {
  for (const auto& signal : kSignals) {
    if (signal.name == name) return signal.number;
  }
  if (!name.starts_with("RTMIN")) return 0;
  name.remove_prefix(5);
  int offset = 0;
  if (name.starts_with('+')) std::from_chars(name.data() + 1, name.data() + name.size(), offset);
  return kRtMin + offset <= kRtMax ? kRtMin + offset : 0;
}

}  // namespace gs::cli

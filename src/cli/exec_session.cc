#include "cli/exec_session.h"

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <deque>
#include <nlohmann/json.hpp>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/backoff.h"
#include "async/blocking_pool.h"
#include "async/event.h"
#include "async/task_group.h"
#include "async/with_deadline.h"
#include "base/encoding.h"
#include "cli/api_transport.h"
#include "cli/failure.h"
#include "cli/input_outbox.h"
#include "cli/standard_streams.h"
#include "cli/terminal.h"
#include "wire/session_frames.h"

namespace gs::cli {
namespace {

// A dead connection has to be noticed well within the grace time, which begins when the far end notices it.
constexpr WsKeepAlive kKeepAlive{.pingAfter = Millis(10'000), .dropAfter = Millis(25'000)};
constexpr std::uint64_t kAckEvery = 64 * 1024;
constexpr Millis kFirstRetry{100};
constexpr Millis kLastRetry{2'000};
// Longer than that, and the person should know why nothing happens.
constexpr Millis kSilent{1'000};
constexpr Millis kFarewell{2'000};
constexpr Millis kWaitRunning{10'000};  // of a sandbox whose host has just come back

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

enum class Keep : std::uint8_t { kNo, kGrace, kDetached };

Result<std::string> openPayload(const ExecRequest& request, const std::string& client, Keep keep) {
  Json open{{"kind", "exec"}, {"sandboxId", request.sandbox}};
  if (keep == Keep::kGrace) open["reattach"] = {{"client", client}, {"graceSeconds", request.grace.count()}};
  if (keep == Keep::kDetached) open["reattach"] = {{"client", client}, {"detached", true}};
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

// One session, over as many connections as it takes.
class ExecSession {
 public:
  ExecSession(ApiClient& api, ExecRequest request)
      : api_(api),
        request_(std::move(request)),
        client_(randomIdChars(20)),
        tasks_(api.transport().loop.get_executor()),
        changed_(api.transport().loop.get_executor()) {}

  Task<Result<int>> run() {
    if (request_.input == StandardInput::kTerminal && request_.session.empty()) GS_CO_CHECK(RawTerminal::check());
    auto outcome = co_await begin();
    while (!outcome && outcome.error().dropped && resumable_ && !leaving_) outcome = co_await comeBack(std::move(outcome.error().error));
    over_ = true;
    terminal_.restore();
    interrupt_.raise();
    co_await tasks_.cancelAndJoin();
    if (outcome && socket_) co_await socket_->close(1000, "");
    if (leaving_) co_return *leaving_ == SessionDeparture::kDetach ? kExitOk : kExitExecFailed;
    if (!outcome) co_return fail(std::move(outcome.error().error));
    co_return *outcome;
  }

  Task<Result<std::string>> runDetached() {
    GS_CO_TRY(const auto open, openPayload(request_, client_, Keep::kDetached));
    until_ = Until::kOpened;
    auto outcome = co_await connect(open);
    co_await tasks_.cancelAndJoin();
    if (!outcome) co_return fail(std::move(outcome.error().error));
    co_await socket_->close(1000, "");
    co_return sessionId_;
  }

 private:
  // Why a connection ended before the session did.
  struct End {
    Error error;
    bool dropped = false;  // and not the session: it may be attached to again
  };
  using Outcome = std::expected<int, End>;
  enum class Until : std::uint8_t { kEnd, kOpened };

  static std::unexpected<End> over(Error error) { return std::unexpected(End{std::move(error)}); }
  static std::unexpected<End> dropped(Error error) { return std::unexpected(End{std::move(error), true}); }

  Task<Outcome> begin() {
    if (!request_.session.empty()) co_return co_await connect(attachPayload());
    auto open = openPayload(request_, client_, Keep::kGrace);
    if (!open) co_return over(std::move(open).error());
    auto outcome = co_await connect(*open);
    // An older server knows no such member.
    const bool unknown = !outcome && !opened_ && outcome.error().error.code == ErrorCode::kInvalidArgument &&
                         outcome.error().error.describe().find("/reattach") != std::string::npos;
    if (!unknown) co_return outcome;
    open = openPayload(request_, client_, Keep::kNo);
    if (!open) co_return over(std::move(open).error());
    outbox_.rewind();
    co_return co_await connect(*open);
  }

  [[nodiscard]] std::string attachPayload() const {
    constexpr std::array<std::string_view, 3> kModes{"write", "take_over", "view"};
    const bool first = !opened_;
    Json open{{"kind", "attach"}, {"sandboxId", request_.sandbox}, {"sessionId", first ? request_.session : sessionId_},
              {"client", client_}, {"waitMs", kWaitRunning.count()}};
    // Once it was ours it is ours by name; who takes it over meanwhile keeps it.
    const bool asWriter = !first && request_.mode == ExecRequest::Mode::kTakeOver;
    open["mode"] = kModes.at(asWriter ? 0 : static_cast<std::size_t>(request_.mode));
    if (!first) open["outputOffset"] = received_;
    return open.dump();
  }

  // Tries until it has a connection again, or the grace time is over.
  Task<Outcome> comeBack(Error why) {
    const auto lost = std::chrono::steady_clock::now();
    const auto deadline = Deadline::after(request_.grace);
    Backoff backoff(kFirstRetry, kLastRetry);
    bool told = false;
    while (!leaving_) {
      if (!told && std::chrono::steady_clock::now() - lost >= kSilent) {
        told = true;
        say(fmt::format("connection lost, trying to get it back for {} s", request_.grace.count()));
      }
      co_await changed_.waitUntil(Deadline::after(backoff.next()).earlier(deadline));
      if (leaving_) break;
      if (deadline.expired()) {
        co_return over(makeError(ErrorCode::kUnavailable, fmt::format("{}; it did not come back within {} s", why.message, request_.grace.count()))
                           .withFix("it is not known whether the program ran to its end: look before you run it again"));
      }
      const auto before = connections_;
      auto outcome = co_await connect(attachPayload());
      if (connections_ != before && told) say("connected again");
      // A connection that came about and was lost again is the caller's to see to.
      if (outcome || !outcome.error().dropped || connections_ != before) co_return outcome;
      why = std::move(outcome.error().error);
    }
    co_return over(makeError(ErrorCode::kCancelled, "left"));
  }

  void say(const std::string& line) const {
    static_cast<void>(writeFully(STDERR_FILENO, fmt::format("{}gstacks: {}{}", terminal_.isRaw() ? "\r\n" : "", line, terminal_.isRaw() ? "\r\n" : "\n")));
  }

  // One connection, from its beginning to its end.
  Task<Outcome> connect(std::string open) {
    HttpClient::WebSocketRequest upgrade;
    upgrade.target = "/api/sessions";
    upgrade.subprotocol = kSessionSubprotocol;
    upgrade.headers = api_.transport().headers();
    upgrade.maxMessageBytes = kMaxSessionPayload + 1;
    upgrade.keepAlive = kKeepAlive;
    auto socket =
        co_await api_.transport().http->connectWebSocket(std::move(upgrade), Deadline::after(request_.connectTimeout));
    if (!socket) {
      auto error = explainConnect(std::move(socket).error(), api_.baseUrl());
      co_return isPassing(error) ? dropped(std::move(error)) : over(std::move(error));
    }
    socket_ = std::move(*socket);
    live_ = false;
    eofSent_ = false;
    if (auto sent = co_await socket_->write(makeSessionFrame(SessionFrameType::kOpen, open)); !sent) {
      co_return dropped(explainEnd(sent.error(), socket_->closed(), opened_));
    }
    TaskGroup pump(co_await asio::this_coro::executor);
    // What is typed before the program runs is passed on: it waits there.
    if (!opened_ && request_.session.empty() && until_ == Until::kEnd) {
      live_ = true;
      if (request_.input != StandardInput::kTerminal && !reading_) {
        reading_ = true;
        tasks_.spawn("stdin", readInput());
      }
    }
    pump.spawn("frames out", sendFrames(socket_));
    auto outcome = co_await converse();
    live_ = false;
    co_await pump.cancelAndJoin();
    co_return outcome;
  }

  // Whether another try may fare better.
  static bool isPassing(const Error& error) {
    return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded ||
           error.code == ErrorCode::kCancelled;
  }

  Task<Outcome> converse() {
    while (true) {
      auto message = co_await socket_->read();
      if (!message) {
        auto error = explainEnd(message.error(), socket_->closed(), opened_);
        co_return isPassing(error) ? dropped(std::move(error)) : over(std::move(error));
      }
      const auto frame = parseSessionFrame(*message, SessionSide::kToClient);
      if (!frame) {
        co_await socket_->close(1002, frame.error().message);
        co_return over(makeError(ErrorCode::kInternal, "the server broke the session protocol: " + frame.error().message));
      }
      switch (frame->type) {
        case SessionFrameType::kOpened: {
          if (auto taken = takeOpened(frame->payload); !taken) co_return over(std::move(taken).error());
          if (until_ == Until::kOpened) co_return 0;
          break;
        }
        case SessionFrameType::kStdout:
        case SessionFrameType::kStderr: {
          const int fd = frame->type == SessionFrameType::kStdout ? STDOUT_FILENO : STDERR_FILENO;
          const auto count = frame->payload.size();
          if (auto written = co_await output_.run(WriteWork{fd, std::move(*message)}); !written) co_return over(std::move(written).error());
          received_ += count;
          if (resumable_ && received_ - acked_ >= kAckEvery) changed_.notifyAll();
          break;
        }
        case SessionFrameType::kInputAck: {
          const auto offset = parseSessionOffset(frame->payload);
          if (!offset) break;
          outbox_.ack(*offset);
          changed_.notifyAll();
          break;
        }
        case SessionFrameType::kExit: {
          auto code = exitCodeOf(frame->payload);
          if (!code) co_return over(std::move(code).error());
          co_return *code;
        }
        case SessionFrameType::kError: {
          const auto problem = parseJson(frame->payload);
          if (!problem) co_return over(makeError(ErrorCode::kInternal, "the session failed and the server did not say why"));
          auto error = errorFromProblem(*problem);
          co_return isPassing(error) ? dropped(std::move(error)) : over(std::move(error));
        }
        default:
          break;  // resized; parseSessionFrame lets no other through
      }
    }
  }

  Status takeOpened(std::string_view payload) {
    GS_TRY(const Json opened, parseJson(payload));
    const bool first = !std::exchange(opened_, true);
    ++connections_;
    if (first) sessionId_ = opened.value("sessionId", "");
    const auto start = opened.find("reattach");
    const bool ours = request_.session.empty();
    if (start == opened.end()) {
      outbox_.forgetWhatIsSent();
    } else {
      resumable_ = true;
      GS_TRY(const auto input, findInteger(*start, "inputOffset"));
      GS_TRY(const auto output, findInteger(*start, "outputOffset"));
      const auto from = static_cast<std::uint64_t>(output.value_or(0));
      if (first && !ours) outbox_.begin(static_cast<std::uint64_t>(input.value_or(0)));
      if (!first && !outbox_.resume(static_cast<std::uint64_t>(input.value_or(0))) && request_.mode != ExecRequest::Mode::kView) {
        return fail(ErrorCode::kDataLoss, "the session has other input than was sent");
      }
      if (!first && from > received_) say(fmt::format("{} bytes of output were no longer kept", from - received_));
      received_ = acked_ = from;
    }
    if (first) beginInput(opened.contains("terminal"));
    live_ = true;
    if (resized_) sizeDue_ = true;
    changed_.notifyAll();
    return {};
  }

  void beginInput(bool hasTerminal) {
    if (until_ == Until::kOpened) return;
    if (request_.mode == ExecRequest::Mode::kView) return;
    tasks_.spawn("signals", passSignalsOn());
    if (!request_.session.empty()) {
      const bool joins = hasTerminal && request_.input == StandardInput::kTerminal && RawTerminal::check();
      if (!joins) {
        request_.input = StandardInput::kPassed;
        tasks_.spawn("stdin", readInput());
        return;
      }
    }
    if (request_.input != StandardInput::kTerminal) return;
    // Not before: until the program runs, Ctrl-C ends us as it ends any command.
    terminal_.enter();
    resized_ = true;
    tasks_.spawn("size", passSizesOn());
    tasks_.spawn("keys", readKeys());
  }

  struct WriteWork {
    int fd;
    std::string frame;
    Status operator()() const { return writeFully(fd, std::string_view(frame).substr(1)); }
  };
  struct ReadWork {
    int wakeFd;
    std::size_t most;
    Result<std::string> operator()() const { return readChunk(STDIN_FILENO, wakeFd, most); }
  };

  // Everything that goes out on a connection, one frame at a time, what is urgent first.
  Task<void> sendFrames(std::shared_ptr<WebSocket> socket) {
    while (true) {
      const auto frame = live_ ? nextFrame() : std::nullopt;
      if (!frame) {
        co_await changed_.waitUntil(Deadline::never());
        continue;
      }
      if (!co_await socket->write(*frame)) co_return;
      changed_.notifyAll();  // there may be room for more input
    }
  }

  std::optional<std::string> nextFrame() {
    if (resumable_ && received_ - acked_ >= kAckEvery) {
      acked_ = received_;
      return makeSessionFrame(SessionFrameType::kAck, sessionOffsetJson(acked_));
    }
    if (std::exchange(sizeDue_, false)) return makeSessionFrame(SessionFrameType::kResize, terminalSizeJson(RawTerminal::size()));
    if (!signals_.empty()) {
      const Json payload{{"signal", signals_.front()}};
      signals_.pop_front();
      return makeSessionFrame(SessionFrameType::kSignal, payload.dump());
    }
    if (leaving_ && !std::exchange(farewellSent_, true) && resumable_) {
      return makeSessionFrame(SessionFrameType::kLeave, sessionDepartureJson(*leaving_));
    }
    if (auto bytes = outbox_.take(kMaxSessionPayload); !bytes.empty()) return makeSessionFrame(SessionFrameType::kStdin, bytes);
    if (outbox_.isAtEnd() && !std::exchange(eofSent_, true)) return makeSessionFrame(SessionFrameType::kStdinEof, {});
    return std::nullopt;
  }

  Task<void> readInput() {
    while (request_.input == StandardInput::kPassed) {
      while (outbox_.room() == 0) co_await changed_.waitUntil(Deadline::never());
      const auto chunk = co_await input_.run(ReadWork{interrupt_.fd(), std::min(outbox_.room(), kMaxSessionPayload)});
      // Cancelled, or unreadable: to the program both are the end of its input.
      if (!chunk || chunk->empty()) break;
      outbox_.push(*chunk);
      changed_.notifyAll();
    }
    outbox_.finish();
    changed_.notifyAll();
  }

  Task<void> readKeys() {
    EscapeFilter filter;
    while (true) {
      const auto chunk = co_await input_.run(ReadWork{interrupt_.fd(), kMaxSessionPayload});
      if (over_) co_return;
      // Our terminal is gone, and whoever typed on it.
      if (!chunk || chunk->empty()) co_return leave(SessionDeparture::kHangUp);
      std::string_view keys = *chunk;
      for (auto action = EscapeFilter::Action::kHelp; action != EscapeFilter::Action::kNone;) {
        auto taken = filter.take(keys);
        keys = taken.rest;
        action = taken.action;
        outbox_.push(taken.typed);
        switch (action) {
          case EscapeFilter::Action::kNone: break;
          case EscapeFilter::Action::kDisconnect: co_return leave(SessionDeparture::kHangUp);
          case EscapeFilter::Action::kDetach:
            if (resumable_) co_return leave(SessionDeparture::kDetach);
            say("this host cannot leave a session running");
            break;
          case EscapeFilter::Action::kHelp: static_cast<void>(writeFully(STDERR_FILENO, kEscapeHelp)); break;
          case EscapeFilter::Action::kSuspend:
            terminal_.restore();
            std::raise(SIGTSTP);
            terminal_.enter();
            sizeDue_ = true;
            break;
        }
      }
      changed_.notifyAll();
    }
  }

  // The far end closes when it has heard; a connection that is dead is given up soon.
  void leave(SessionDeparture how) {
    leaving_ = how;
    if (how == SessionDeparture::kDetach) say(fmt::format("left running: gstacks sandbox attach {} {}", request_.sandbox, sessionId_));
    changed_.notifyAll();
    if (!resumable_) return socket_->abort();
    if (!live_) {
      // Between two connections there is nobody to tell, and an attempt that is under way may take its time to fail.
      terminal_.restore();
      ::_exit(how == SessionDeparture::kDetach ? kExitOk : kExitExecFailed);
    }
    tasks_.spawn("farewell", abortSoon(socket_));
  }
  static Task<void> abortSoon(std::shared_ptr<WebSocket> socket) {
    co_await sleepFor(kFarewell);
    socket->abort();
  }

  Task<void> passSizesOn() {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGWINCH);
    while (true) {
      // The first: it may have changed since the open frame.
      sizeDue_ = true;
      changed_.notifyAll();
      co_await signals.async_wait(asio::use_awaitable);
    }
  }

  Task<void> passSignalsOn() {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGINT, SIGTERM);
    for (int seen = 0;; ++seen) {
      const int number = co_await signals.async_wait(asio::use_awaitable);
      if (seen > 0) {
        terminal_.restore();
        // The program is hung up with us: without a word it would be kept for its grace time.
        if (resumable_ && live_) {
          leaving_ = SessionDeparture::kHangUp;
          const auto farewell = makeSessionFrame(SessionFrameType::kLeave, sessionDepartureJson(*leaving_));
          static_cast<void>(co_await withDeadline(Deadline::after(kFarewell), "leaving", socket_->write(farewell)));
        }
        ::_exit(kExitSignalBase + number);
      }
      signals_.emplace_back(number == SIGINT ? "INT" : "TERM");
      changed_.notifyAll();
    }
  }

  ApiClient& api_;
  ExecRequest request_;
  std::string client_;
  TaskGroup tasks_;
  Event changed_;  // something may be sent, or somebody leaves
  Interrupt interrupt_;
  std::shared_ptr<WebSocket> socket_;
  std::string sessionId_;
  InputOutbox outbox_;
  std::deque<std::string> signals_;
  std::uint64_t received_ = 0;  // output that has been written out
  std::uint64_t acked_ = 0;
  std::uint64_t connections_ = 0;
  bool over_ = false;
  bool opened_ = false;
  bool resumable_ = false;
  bool reading_ = false;
  bool live_ = false;     // frames may be sent on the present connection
  bool eofSent_ = false;  // on the present connection
  bool resized_ = false;  // there is a terminal whose size is ours
  bool sizeDue_ = false;
  bool farewellSent_ = false;
  std::optional<SessionDeparture> leaving_;  // by the person at the terminal
  Until until_ = Until::kEnd;
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

Result<std::string> beginDetached(ApiClient& api, ExecRequest request) {
  ExecSession session(api, std::move(request));
  return api.transport().run(session.runDetached());
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

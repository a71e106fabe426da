#include "agent/sessions/exec_session.h"

#include <signal.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/encoding.h"
#include "wire/problem.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr Millis kStartTime{15'000};

constexpr std::pair<int, std::string_view> kSignals[] = {
    {SIGHUP, "HUP"},   {SIGINT, "INT"},   {SIGQUIT, "QUIT"},   {SIGKILL, "KILL"}, {SIGUSR1, "USR1"},
    {SIGUSR2, "USR2"}, {SIGTERM, "TERM"}, {SIGCONT, "CONT"},   {SIGSTOP, "STOP"}, {SIGTSTP, "TSTP"},
    {SIGABRT, "ABRT"}, {SIGALRM, "ALRM"}, {SIGWINCH, "WINCH"}, {SIGPIPE, "PIPE"}, {SIGSEGV, "SEGV"},
    {SIGILL, "ILL"},   {SIGBUS, "BUS"},   {SIGFPE, "FPE"},     {SIGTRAP, "TRAP"}, {SIGSYS, "SYS"},
    {SIGXCPU, "XCPU"}, {SIGXFSZ, "XFSZ"}, {SIGTTIN, "TTIN"},   {SIGTTOU, "TTOU"}};

Task<Status> send(WebSocket& channel, SessionFrameType type, std::string payload) {
  co_return co_await channel.write(makeSessionFrame(type, payload));
}

Task<void> refuse(WebSocket& channel, Error error) {
  const auto problem = problemJson(error, RequestId::make().text(), "/api/sessions");
  if (co_await send(channel, SessionFrameType::kError, problem)) {
    co_await channel.close(sessionCloseCode(error), error.message);
  } else {
    channel.abort();
  }
}

Result<int> parseSignal(std::string_view payload) {
  GS_TRY(const auto json, parseJson(payload));
  GS_TRY(const auto name, getString(json, "signal"));
  const auto number = signalNumber(name);
  if (!number) return fail(ErrorCode::kInvalidArgument, "no such signal: " + escapeForLog(name, 32));
  return *number;
}

// A client that says that it does not come back. Not an error of anybody's.
Error left() { return makeError(ErrorCode::kCancelled, "the client left"); }

// Client to process. Ends when the client is gone, left (kCancelled) or broke the protocol (kInvalidArgument).
Task<Error> pumpInput(WebSocket& channel, GuestExec& exec) {
  while (true) {
    auto message = co_await channel.read();
    if (!message) co_return std::move(message).error();
    const auto frame = parseSessionFrame(*message, SessionSide::kFromClient);
    if (!frame) co_return frame.error();
    Status done;
    switch (frame->type) {
      case SessionFrameType::kStdin: done = co_await exec.write(std::string(frame->payload)); break;
      case SessionFrameType::kStdinEof: done = co_await exec.writeEof(); break;
      case SessionFrameType::kSignal: {
        const auto number = parseSignal(frame->payload);
        if (!number) co_return number.error();
        done = co_await exec.signal(*number);
        break;
      }
      case SessionFrameType::kResize: {
        const auto size = parseTerminalSize(frame->payload);
        if (!size) co_return size.error();
        done = co_await exec.resize(*size);
        break;
      }
      case SessionFrameType::kAck: {
        const auto offset = parseSessionOffset(frame->payload);
        if (!offset) co_return offset.error();
        if (!exec.session()) co_return makeError(ErrorCode::kInvalidArgument, "an ack in a session that cannot be attached to");
        done = co_await exec.ack(*offset);
        break;
      }
      case SessionFrameType::kLeave: {
        const auto how = parseSessionDeparture(frame->payload);
        if (!how) co_return how.error();
        if (exec.session()) {
          static_cast<void>(co_await exec.leave(*how == SessionDeparture::kDetach ? SessionLeave::kDetach : SessionLeave::kHangUp));
        }
        co_return left();
      }
      default: co_return makeError(ErrorCode::kInvalidArgument, "only the first frame may be an open frame");
    }
    // A process that closed its stdin, or has just ended, is no error of the client's: its exit follows.
    if (!done && done.error().code == ErrorCode::kInvalidArgument) co_return std::move(done).error();
  }
}

Error explainCut(SessionCut cut) {
  if (cut == SessionCut::kTooSlow) {
    return makeError(ErrorCode::kResourceExhausted, "this viewer was 256 KiB behind").withReason("viewer_too_slow");
  }
  return makeError(ErrorCode::kFailedPrecondition, "another client has taken the session over").withReason("session_taken_over");
}

struct Finished {
  ProcessExit exit;
};

// Process to client. Ends with the exit, or with what went wrong.
Task<Result<Finished>> pumpOutput(WebSocket& channel, GuestExec& exec) {
  while (true) {
    auto event = co_await exec.next();
    if (!event) co_return std::unexpected(std::move(event).error());
    if (auto* out = std::get_if<ExecStdout>(&*event)) {
      GS_CO_CHECK(co_await send(channel, SessionFrameType::kStdout, std::move(out->data)));
    } else if (auto* err = std::get_if<ExecStderr>(&*event)) {
      GS_CO_CHECK(co_await send(channel, SessionFrameType::kStderr, std::move(err->data)));
    } else if (const auto* size = std::get_if<TerminalSize>(&*event)) {
      GS_CO_CHECK(co_await send(channel, SessionFrameType::kResized, terminalSizeJson(*size)));
    } else if (const auto* input = std::get_if<ExecInputAck>(&*event)) {
      GS_CO_CHECK(co_await send(channel, SessionFrameType::kInputAck, sessionOffsetJson(input->offset)));
    } else if (const auto* cut = std::get_if<SessionCut>(&*event)) {
      co_return fail(explainCut(*cut));
    } else {
      co_return Finished{std::get<ProcessExit>(std::move(*event))};
    }
  }
}

Task<void> finish(WebSocket& channel, ProcessExit exit, std::string_view lineEnd) {
  if (!exit.startError.empty()) {
    const auto line = exit.startError + std::string(lineEnd);
    if (!co_await send(channel, SessionFrameType::kStderr, line)) co_return;
  }
  const Json body = exit.signal != 0 ? Json{{"signal", signalName(exit.signal)}} : Json{{"code", exit.code}};
  if (co_await send(channel, SessionFrameType::kExit, body.dump())) co_await channel.close(1000, "");
}

}  // namespace

std::optional<int> signalNumber(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (const auto& [number, text] : kSignals) {
    if (text == name) return number;
  }
  return std::nullopt;
}

std::string signalName(int number) {
  for (const auto& [value, text] : kSignals) {
    if (value == number) return std::string(text);
  }
  return fmt::format("{}", number);
}

namespace {

// From `opened` to the end.
Task<void> carry(std::shared_ptr<WebSocket> channel, std::unique_ptr<GuestExec> exec, std::string_view lineEnd) {
  using namespace asio::experimental::awaitable_operators;
  auto winner = co_await (pumpOutput(*channel, *exec) || pumpInput(*channel, *exec));
  if (winner.index() == 0) {
    auto& output = std::get<0>(winner);
    if (output) {
      co_await finish(*channel, std::move(output->exit), lineEnd);
    } else {
      co_await refuse(*channel, std::move(output).error());
    }
    co_return;
  }
  exec->close();
  const Error& error = std::get<1>(winner);
  if (error.code == ErrorCode::kInvalidArgument) {
    co_await channel->close(1002, error.message);
  } else if (error.code == ErrorCode::kCancelled) {
    co_await channel->close(1000, "");
  } else {
    channel->abort();
  }
}

// False: the client is gone already.
Task<bool> sendOpened(WebSocket& channel, const SessionId& session, const GuestExec& exec) {
  Json opened{{"sessionId", session.text()}};
  if (const auto& start = exec.session()) {
    opened["reattach"] = {{"inputOffset", start->inputOffset}, {"outputOffset", start->outputOffset}};
    if (start->terminal) opened["terminal"] = {{"rows", start->terminal->rows}, {"columns", start->terminal->columns}};
  }
  const auto sent = co_await send(channel, SessionFrameType::kOpened, opened.dump());
  co_return sent.has_value();
}

SessionSpec specOf(const SessionId& id, SessionPolicy policy) {
  return {id.text(), std::move(policy.owner), std::move(policy.client), static_cast<SessionLifetime>(policy.lifetime), policy.grace};
}

}  // namespace

Task<void> runExecSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host) {
  auto& wanted = std::get<ExecSession>(open.kind);
  ProcessSpec process{std::move(wanted.argv), std::move(wanted.env), std::move(wanted.workingDir), std::move(wanted.user),
                      wanted.terminal};
  const bool detached = wanted.policy && wanted.policy->lifetime == SessionPolicy::Lifetime::kDetached;
  if (wanted.policy) process.session = specOf(open.sessionId, std::move(*wanted.policy));
  const std::string_view lineEnd = process.terminal ? "\r\n" : "\n";
  auto exec = co_await host.startExec(open.sandboxId, std::move(process), Deadline::after(kStartTime));
  if (exec && detached && !(*exec)->session()) {
    (*exec)->close();
    exec = fail(makeError(ErrorCode::kFailedPrecondition, "the sandbox was started by an older version, which keeps no sessions")
                    .withReason("reattach_unsupported")
                    .withFix("stop the sandbox and start it again"));
  }
  if (!exec) co_return co_await refuse(*channel, std::move(exec).error());
  const bool told = co_await sendOpened(*channel, open.sessionId, **exec);
  if (detached) {
    static_cast<void>(co_await (*exec)->leave(SessionLeave::kDetach));
    (*exec)->close();
    co_return co_await channel->close(1000, "");
  }
  if (told) co_return co_await carry(std::move(channel), std::move(*exec), lineEnd);
  (*exec)->close();
  channel->abort();
}

Task<void> runAttachedSession(std::shared_ptr<WebSocket> channel, SessionOpen open, SessionHost& host) {
  auto& wanted = std::get<AttachSession>(open.kind);
  AttachSpec spec;
  spec.id = open.sessionId.text();
  spec.claim = {std::move(wanted.owner),
                wanted.reach == AttachSession::Reach::kAll ? SessionClaim::Reach::kAll : SessionClaim::Reach::kOwn};
  spec.client = std::move(wanted.client);
  spec.mode = static_cast<AttachSpec::Mode>(wanted.mode);
  spec.outputOffset = wanted.outputOffset;
  auto exec = co_await host.attachSession(open.sandboxId, std::move(spec), Deadline::after(kStartTime));
  if (!exec) co_return co_await refuse(*channel, std::move(exec).error());
  if (co_await sendOpened(*channel, open.sessionId, **exec)) {
    co_return co_await carry(std::move(channel), std::move(*exec), "\n");
  }
  (*exec)->close();
  channel->abort();
}

}  // namespace gs

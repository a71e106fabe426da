#include "agent/guest_channel/guest_messages.h"

#include "base/encoding.h"
#include "base/utf8.h"
#include "globalstacks/guest/v1/guest.pb.h"
#include "wire/guest_frames.h"

namespace gs {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::size_t kMaxTextBytes = 1024;
constexpr std::size_t kMaxVersionBytes = 64;
constexpr std::size_t kMaxArguments = 4096;
constexpr std::size_t kMaxArgumentBytes = 48 * 1024;
constexpr std::size_t kMaxVariables = 1024;
constexpr std::int64_t kMaxGraceMs = 600'000;
constexpr int kLastSignal = 64;
constexpr std::uint64_t kMaxOutputOffset = 1ULL << 62;
constexpr std::size_t kMaxOutputRecordBytes = 16 * 1024;
constexpr std::size_t kMaxSessionText = 64;
constexpr std::size_t kMaxProgramBytes = 128;
constexpr std::int64_t kMaxSessionGraceMs = 3'600'000;

// Protobuf strings must be UTF-8, or the guest could not read the frame.
Status checkText(std::string_view text, std::string_view what) {
  if (text.find('\0') != std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} holds a zero byte", what));
  }
  if (!isUtf8(text)) return fail(ErrorCode::kInvalidArgument, fmt::format("{} is not UTF-8", what));
  return {};
}

Status checkEnv(const std::vector<std::string>& env) {
  if (env.size() > kMaxVariables) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} environment variables; at most 1,024", env.size()));
  }
  for (const auto& entry : env) {
    GS_CHECK(checkText(entry, "an environment variable"));
    const auto equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("environment entry \"{}\" is not NAME=value", escapeForLog(entry, 80)));
    }
  }
  return {};
}

Status checkSpec(const ProcessSpec& spec) {
  const bool loginShell = spec.argv.empty() && spec.terminal;
  if (!loginShell && (spec.argv.empty() || spec.argv.front().empty())) return fail(ErrorCode::kInvalidArgument, "no program to run");
  if (spec.argv.size() > kMaxArguments) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} arguments; at most 4,096", spec.argv.size()));
  }
  std::size_t bytes = 0;
  for (const auto& argument : spec.argv) {
    GS_CHECK(checkText(argument, "an argument"));
    bytes += argument.size();
  }
  if (bytes > kMaxArgumentBytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} bytes of arguments; at most 48 KiB", bytes));
  }
  GS_CHECK(checkEnv(spec.env));
  GS_CHECK(checkText(spec.workingDir, "the working directory"));
  GS_CHECK(checkText(spec.user, "the user"));
  if (!spec.workingDir.empty() && spec.workingDir.front() != '/') {
    return fail(ErrorCode::kInvalidArgument, "the working directory is not an absolute path");
  }
  return {};
}

void fill(pb::ProcessSpec& out, const ProcessSpec& spec) {
  for (const auto& argument : spec.argv) out.add_argv(argument);
  for (const auto& entry : spec.env) out.add_env(entry);
  out.set_working_dir(spec.workingDir);
  out.set_user(spec.user);
}

void fill(pb::TerminalSize& out, TerminalSize size) {
  out.set_rows(size.rows);
  out.set_columns(size.columns);
}

Result<std::string> serialized(const pb::AgentFrame& frame) {
  auto bytes = frame.SerializeAsString();
  if (bytes.size() > kMaxGuestFrameBytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("arguments and environment take {} bytes; at most 64 KiB in all", bytes.size()));
  }
  return bytes;
}

std::string cleaned(const std::string& text, std::size_t limit) { return escapeForLog(text, limit); }

Result<ProcessExit> decodeExit(std::int32_t code, std::int32_t signal, const std::string& startError) {
  if (code < 0 || code > 255 || signal < 0 || signal > kLastSignal) {
    return fail(ErrorCode::kDataLoss, "the guest reports an exit that cannot be");
  }
  return ProcessExit{.code = code, .signal = signal, .startError = cleaned(startError, kMaxTextBytes)};
}

template <class Message>
Result<WorkloadState> decodeWorkload(const Message& message) {
  WorkloadState state;
  if (message.has_workload_exited()) {
    const auto& exited = message.workload_exited();
    GS_TRY(state.exit, decodeExit(exited.exit_code(), exited.signal(), exited.start_error()));
    state.phase = WorkloadState::Phase::kExited;
  } else if (message.has_workload_started()) {
    state.pid = message.workload_started().pid();
    if (state.pid <= 0) return fail(ErrorCode::kDataLoss, "the guest reports a workload without a process id");
    state.phase = WorkloadState::Phase::kRunning;
  }
  return state;
}

// A guest's clock is the host's, and a record is told within moments; a hostile one must not write the future.
Result<OutputRecords> decodeOutput(const pb::OutputChunk& chunk) {
  const auto now = toUnixMillis(SystemClock().wallNow());
  OutputRecords out;
  std::uint64_t next = 0;
  for (const auto& record : chunk.records()) {
    const bool stream = record.stream() == pb::OutputRecord::STREAM_STDOUT || record.stream() == pb::OutputRecord::STREAM_STDERR;
    const bool order = out.records.empty() || record.offset() == next;
    const bool fits = record.offset() <= kMaxOutputOffset && record.data().size() <= kMaxOutputRecordBytes;
    if (!stream || !order || !fits || record.data().empty()) return fail(ErrorCode::kDataLoss, "the guest sent output that cannot be");
    next = record.offset() + record.data().size();
    out.records.push_back({record.offset(), record.stream() == pb::OutputRecord::STREAM_STDERR ? OutputStream::kStderr : OutputStream::kStdout,
                           std::clamp<std::int64_t>(record.read_at_ms(), 0, now), record.data()});
  }
  if (out.records.empty()) return fail(ErrorCode::kDataLoss, "the guest sent no output as output");
  return out;
}

Error refusal(const pb::ExecFailed& failed) {
  auto message = "the sandbox refused to run it: " + cleaned(failed.message(), kMaxTextBytes);
  switch (failed.kind()) {
    case pb::ExecFailed::KIND_INVALID: return makeError(ErrorCode::kFailedPrecondition, std::move(message));
    case pb::ExecFailed::KIND_BUSY: return makeError(ErrorCode::kResourceExhausted, std::move(message));
    case pb::ExecFailed::KIND_NOT_FOUND: return makeError(ErrorCode::kNotFound, "there is no such session, or not any more");
    case pb::ExecFailed::KIND_CONFLICT:
      return makeError(ErrorCode::kFailedPrecondition, "another client writes to the session")
          .withReason("session_in_use")
          .withFix("take it over (mode take_over), or only watch it (mode view)");
    default: return makeError(ErrorCode::kInternal, std::move(message));
  }
}

Status checkSessionText(std::string_view text, std::string_view what) {
  GS_CHECK(checkText(text, what));
  if (text.size() <= kMaxSessionText) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} has {} bytes; at most 64", what, text.size()));
}

Status fill(pb::SessionSpec& out, const SessionSpec& spec) {
  GS_CHECK(checkSessionText(spec.id, "the session's id"));
  GS_CHECK(checkSessionText(spec.owner, "the session's owner"));
  GS_CHECK(checkSessionText(spec.client, "the client's name"));
  out.set_session_id(spec.id);
  out.set_owner(spec.owner);
  out.set_client(spec.client);
  out.set_lifetime(static_cast<pb::SessionSpec::Lifetime>(spec.lifetime));
  out.set_grace_ms(static_cast<std::uint32_t>(std::clamp<std::int64_t>(spec.grace.count(), 0, kMaxSessionGraceMs)));
  return {};
}

template <class Message>
Result<std::optional<TerminalSize>> decodeTerminal(const Message& message) {
  if (!message.has_terminal()) return std::optional<TerminalSize>();
  const TerminalSize size{message.terminal().rows(), message.terminal().columns()};
  if (!isTerminalSize(size)) return fail(ErrorCode::kDataLoss, "the guest reports a terminal size that cannot be");
  return std::optional(size);
}

Result<SessionSummary> decodeSummary(const pb::SessionInfo& info) {
  SessionSummary out;
  out.id = cleaned(info.session_id(), kMaxSessionText);
  out.owner = cleaned(info.owner(), kMaxSessionText);
  out.program = cleaned(info.program(), kMaxProgramBytes);
  GS_TRY(out.terminal, decodeTerminal(info));
  switch (info.lifetime()) {
    case pb::SessionSpec::LIFETIME_GRACE: out.lifetime = SessionLifetime::kGrace; break;
    case pb::SessionSpec::LIFETIME_DETACHED: out.lifetime = SessionLifetime::kDetached; break;
    default: break;
  }
  switch (info.state()) {
    case pb::SessionInfo::STATE_WAITING: out.state = SessionSummary::State::kWaiting; break;
    case pb::SessionInfo::STATE_DETACHED: out.state = SessionSummary::State::kDetached; break;
    case pb::SessionInfo::STATE_ENDED: out.state = SessionSummary::State::kEnded; break;
    default: break;
  }
  out.viewers = info.viewers();
  out.outputBytes = info.output_bytes();
  GS_TRY(out.exit, decodeExit(info.exit().exit_code(), info.exit().signal(), info.exit().start_error()));
  // A hundred years, so that whoever subtracts it from a clock stays in range.
  out.age = Millis(static_cast<std::int64_t>(std::min<std::uint64_t>(info.age_ms(), 3'155'760'000'000)));
  return out;
}

Result<SessionList> decodeList(const pb::SessionList& list) {
  if (static_cast<std::size_t>(list.sessions_size()) > kMostListedSessions) {
    return fail(ErrorCode::kDataLoss, "the guest lists more sessions at once than it may");
  }
  SessionList out{.nonce = list.nonce(), .sessions = {}};
  for (const auto& info : list.sessions()) {
    GS_TRY(auto summary, decodeSummary(info));
    out.sessions.push_back(std::move(summary));
  }
  return out;
}

}  // namespace

Result<GuestFrame> decodeGuestFrame(std::string_view payload) {
  pb::GuestFrame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(ErrorCode::kDataLoss, "the guest sent bytes that are no GuestFrame");
  }
  switch (frame.frame_case()) {
    case pb::GuestFrame::kHello: {
      const auto& hello = frame.hello();
      GS_TRY(auto workload, decodeWorkload(hello));
      if (hello.has_output() && hello.output().run().size() != kOutputRunBytes) {
        return fail(ErrorCode::kDataLoss, "the guest's output has no run");
      }
      return GuestHello{.protocol = hello.protocol(),
                        .version = cleaned(hello.version(), kMaxVersionBytes),
                        .gateOpen = hello.gate_open(),
                        .workload = std::move(workload),
                        .servesFiles = hello.serves_files(),
                        .outputRun = hello.output().run(),
                        .outputEnd = hello.output().end(),
                        .keepsSessions = std::ranges::find(hello.features(), "sessions") != hello.features().end()};
    }
    case pb::GuestFrame::kGateOpened: {
      GS_TRY(auto workload, decodeWorkload(frame.gate_opened()));
      return GateOpened{.workload = std::move(workload)};
    }
    case pb::GuestFrame::kWorkloadExited: {
      const auto& exited = frame.workload_exited();
      GS_TRY(auto exit, decodeExit(exited.exit_code(), exited.signal(), exited.start_error()));
      return WorkloadExited{.exit = std::move(exit), .sandboxStopping = exited.sandbox_stopping(), .outputEnd = exited.output_end()};
    }
    case pb::GuestFrame::kExecFailed:
      return ExecFailed{.execId = frame.exec_failed().exec_id(), .error = refusal(frame.exec_failed())};
    case pb::GuestFrame::kPong: return Pong{.nonce = frame.pong().nonce()};
    case pb::GuestFrame::kExecAttach:
      if (frame.exec_attach().key().size() != kExecKeyBytes) {
        return fail(ErrorCode::kDataLoss, "the guest sent a key of the wrong size");
      }
      return ExecAttach{.execId = frame.exec_attach().exec_id(), .key = frame.exec_attach().key()};
    case pb::GuestFrame::kOutput: {
      GS_TRY(auto records, decodeOutput(frame.output()));
      return records;
    }
    case pb::GuestFrame::kSessionList: {
      GS_TRY(auto list, decodeList(frame.session_list()));
      return list;
    }
    case pb::GuestFrame::kSessionEnding:
      return SessionEnding{.nonce = frame.session_ending().nonce(), .found = frame.session_ending().found()};
    case pb::GuestFrame::FRAME_NOT_SET: break;
  }
  return std::monostate{};
}

Result<ExecFrame> decodeExecFrame(std::string_view payload) {
  pb::ExecFrame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(ErrorCode::kDataLoss, "the guest sent bytes that are no ExecFrame");
  }
  switch (frame.frame_case()) {
    case pb::ExecFrame::kStartedPid:
      if (frame.started_pid() <= 0) return fail(ErrorCode::kDataLoss, "the guest reports a process without an id");
      return ExecStarted{.pid = frame.started_pid()};
    case pb::ExecFrame::kStdoutData: return ExecStdout{.data = std::move(*frame.mutable_stdout_data())};
    case pb::ExecFrame::kStderrData: return ExecStderr{.data = std::move(*frame.mutable_stderr_data())};
    case pb::ExecFrame::kExit: {
      GS_TRY(auto exit, decodeExit(frame.exit().exit_code(), frame.exit().signal(), frame.exit().start_error()));
      return exit;
    }
    case pb::ExecFrame::kResized: {
      const TerminalSize size{frame.resized().rows(), frame.resized().columns()};
      if (!isTerminalSize(size)) return fail(ErrorCode::kDataLoss, "the guest reports a terminal size that cannot be");
      return size;
    }
    case pb::ExecFrame::kAttached: {
      GS_TRY(auto terminal, decodeTerminal(frame.attached()));
      return SessionStart{.outputOffset = frame.attached().output_offset(),
                          .inputOffset = frame.attached().input_offset(),
                          .terminal = terminal};
    }
    case pb::ExecFrame::kInputAck: return ExecInputAck{.offset = frame.input_ack()};
    case pb::ExecFrame::kCut:
      return frame.cut() == pb::CUT_TOO_SLOW ? SessionCut::kTooSlow : SessionCut::kTakenOver;
    // The agent's own cases; from the guest they mean nothing.
    case pb::ExecFrame::kStdinData:
    case pb::ExecFrame::kStdinEof:
    case pb::ExecFrame::kResize:
    case pb::ExecFrame::kOutputAck:
    case pb::ExecFrame::kLeave:
    case pb::ExecFrame::kSignal: return fail(ErrorCode::kDataLoss, "the guest sent a frame that only the agent sends");
    case pb::ExecFrame::FRAME_NOT_SET: break;
  }
  return std::monostate{};
}

Result<std::string> encodeOpenGate(const GateSpec& spec) {
  GS_CHECK(checkEnv(spec.env));
  GS_CHECK(checkText(spec.sandboxId, "the sandbox id"));
  if (spec.workload) GS_CHECK(checkSpec(*spec.workload));
  pb::AgentFrame frame;
  auto& open = *frame.mutable_open_gate();
  if (spec.workload) fill(*open.mutable_workload(), *spec.workload);
  for (const auto& entry : spec.env) open.add_env(entry);
  open.set_sandbox_id(spec.sandboxId);
  return serialized(frame);
}

Result<std::string> encodeStartExec(std::uint64_t execId, std::string_view key, const ProcessSpec& spec) {
  GS_CHECK(checkSpec(spec));
  pb::AgentFrame frame;
  auto& start = *frame.mutable_start_exec();
  start.set_exec_id(execId);
  start.set_key(std::string(key));
  fill(*start.mutable_process(), spec);
  if (spec.terminal) fill(*start.mutable_terminal(), *spec.terminal);
  if (spec.session) GS_CHECK(fill(*start.mutable_session(), *spec.session));
  return serialized(frame);
}

Result<std::string> encodeAttachSession(std::uint64_t execId, std::string_view key, const AttachSpec& spec) {
  GS_CHECK(checkSessionText(spec.id, "the session's id"));
  GS_CHECK(checkSessionText(spec.claim.owner, "the session's owner"));
  GS_CHECK(checkSessionText(spec.client, "the client's name"));
  pb::AgentFrame frame;
  auto& attach = *frame.mutable_attach_session();
  attach.set_exec_id(execId);
  attach.set_key(std::string(key));
  attach.set_session_id(spec.id);
  attach.set_owner(spec.claim.owner);
  attach.set_any_owner(spec.claim.reach == SessionClaim::Reach::kAll);
  attach.set_client(spec.client);
  attach.set_mode(static_cast<pb::AttachSession::Mode>(static_cast<int>(spec.mode) + 1));
  if (spec.outputOffset) attach.set_output_offset(*spec.outputOffset);
  return serialized(frame);
}

std::string encodeListSessions(std::uint64_t nonce, std::string_view after) {
  pb::AgentFrame frame;
  frame.mutable_list_sessions()->set_nonce(nonce);
  frame.mutable_list_sessions()->set_after(std::string(after));
  return frame.SerializeAsString();
}

Result<std::string> encodeEndSession(std::uint64_t nonce, std::string_view id, const SessionClaim& claim) {
  GS_CHECK(checkSessionText(id, "the session's id"));
  GS_CHECK(checkSessionText(claim.owner, "the session's owner"));
  pb::AgentFrame frame;
  auto& end = *frame.mutable_end_session();
  end.set_nonce(nonce);
  end.set_session_id(std::string(id));
  end.set_owner(claim.owner);
  end.set_any_owner(claim.reach == SessionClaim::Reach::kAll);
  return serialized(frame);
}

std::string encodeStartFiles(std::uint64_t id, std::string_view key) {
  pb::AgentFrame frame;
  frame.mutable_start_files()->set_exec_id(id);
  frame.mutable_start_files()->set_key(std::string(key));
  return frame.SerializeAsString();
}

std::string encodeStopWorkload(Millis grace) {
  pb::AgentFrame frame;
  const auto ms = std::clamp<std::int64_t>(grace.count(), 0, kMaxGraceMs);
  frame.mutable_stop_workload()->set_grace_ms(static_cast<std::uint32_t>(ms));
  return frame.SerializeAsString();
}

std::string encodePing(std::uint64_t nonce) {
  pb::AgentFrame frame;
  frame.mutable_ping()->set_nonce(nonce);
  return frame.SerializeAsString();
}

std::string encodeReadOutput(std::uint64_t offset) {
  pb::AgentFrame frame;
  frame.mutable_read_output()->set_offset(offset);
  return frame.SerializeAsString();
}

std::string encodeExecStdin(std::string_view data) {
  pb::ExecFrame frame;
  frame.set_stdin_data(data.data(), data.size());
  return frame.SerializeAsString();
}

std::string encodeExecStdinEof() {
  pb::ExecFrame frame;
  frame.set_stdin_eof(true);
  return frame.SerializeAsString();
}

std::string encodeExecResize(TerminalSize size) {
  pb::ExecFrame frame;
  fill(*frame.mutable_resize(), size);
  return frame.SerializeAsString();
}

std::string encodeExecOutputAck(std::uint64_t offset) {
  pb::ExecFrame frame;
  frame.set_output_ack(offset);
  return frame.SerializeAsString();
}

std::string encodeExecLeave(SessionLeave how) {
  pb::ExecFrame frame;
  frame.set_leave(how == SessionLeave::kDetach ? pb::LEAVE_DETACH : pb::LEAVE_HANG_UP);
  return frame.SerializeAsString();
}

std::string encodeExecSignal(int number) {
  pb::ExecFrame frame;
  frame.set_signal(static_cast<std::uint32_t>(number));
  return frame.SerializeAsString();
}

}  // namespace gs

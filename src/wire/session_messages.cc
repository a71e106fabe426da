// The messages of data channels.
#include "wire/convert.h"

namespace gs {
namespace pb = wire::pb;

namespace {

constexpr std::size_t kMostOwner = 64;
constexpr std::size_t kMostProgram = 1024;
constexpr std::uint32_t kMostGraceMs = 3'600'000;
constexpr std::uint64_t kMostAgeMs = 3'155'760'000'000;  // a hundred years

template <class Message>
void writeTerminal(const std::optional<TerminalSize>& size, Message& out) {
  if (!size) return;
  out.mutable_terminal()->set_rows(size->rows);
  out.mutable_terminal()->set_columns(size->columns);
}

template <class Message>
Result<std::optional<TerminalSize>> readTerminal(const Message& in) {
  if (!in.has_terminal()) return std::optional<TerminalSize>();
  const TerminalSize size{in.terminal().rows(), in.terminal().columns()};
  if (!isTerminalSize(size)) return fail(wire::fieldError("terminal", "has a side outside 1..10000"));
  return std::optional(size);
}

pb::SessionPolicy::Lifetime write(SessionPolicy::Lifetime lifetime) { return static_cast<pb::SessionPolicy::Lifetime>(lifetime); }

Result<SessionPolicy::Lifetime> read(pb::SessionPolicy::Lifetime lifetime) {
  switch (lifetime) {
    case pb::SessionPolicy::LIFETIME_CHANNEL: return SessionPolicy::Lifetime::kChannel;
    case pb::SessionPolicy::LIFETIME_GRACE: return SessionPolicy::Lifetime::kGrace;
    case pb::SessionPolicy::LIFETIME_DETACHED: return SessionPolicy::Lifetime::kDetached;
    default: return fail(wire::fieldError("lifetime", "is not one that this version knows"));
  }
}

void write(const ExecSession& exec, pb::ExecSession& out) {
  for (const auto& arg : exec.argv) out.add_argv(arg);
  for (const auto& entry : exec.env) out.add_env(entry);
  out.set_working_dir(exec.workingDir);
  out.set_user(exec.user);
  writeTerminal(exec.terminal, out);
  if (!exec.policy) return;
  auto& policy = *out.mutable_policy();
  policy.set_owner(exec.policy->owner);
  policy.set_client(exec.policy->client);
  policy.set_lifetime(write(exec.policy->lifetime));
  policy.set_grace_ms(static_cast<std::uint32_t>(exec.policy->grace.count()));
}

Result<ExecSession> read(const pb::ExecSession& in) {
  ExecSession out;
  GS_TRY(out.terminal, readTerminal(in));
  if (in.argv_size() == 0 && !out.terminal) return fail(wire::fieldError("argv", "is empty"));
  GS_CHECK(wire::checkLength("argv", static_cast<std::size_t>(in.argv_size()), 4096));
  GS_CHECK(wire::checkLength("env", static_cast<std::size_t>(in.env_size()), 1024));
  out.argv.assign(in.argv().begin(), in.argv().end());
  out.env.assign(in.env().begin(), in.env().end());
  out.workingDir = in.working_dir();
  out.user = in.user();
  if (!in.has_policy()) return out;
  GS_CHECK(wire::checkLength("owner", in.policy().owner().size(), kMostOwner));
  GS_CHECK(wire::checkLength("client", in.policy().client().size(), kMostOwner));
  if (in.policy().grace_ms() > kMostGraceMs) return fail(wire::fieldError("grace_ms", "is over an hour"));
  out.policy.emplace(SessionPolicy{in.policy().owner(), in.policy().client(), {}, Millis(in.policy().grace_ms())});
  GS_TRY(out.policy->lifetime, read(in.policy().lifetime()));
  return out;
}

void write(const AttachSession& attach, pb::AttachSession& out) {
  out.set_owner(attach.owner);
  out.set_any_owner(attach.reach == AttachSession::Reach::kAll);
  out.set_client(attach.client);
  out.set_mode(static_cast<pb::AttachSession::Mode>(static_cast<int>(attach.mode) + 1));
  if (attach.outputOffset) out.set_output_offset(*attach.outputOffset);
}

AttachSession::Reach reachOf(bool anyOwner) { return anyOwner ? AttachSession::Reach::kAll : AttachSession::Reach::kOwn; }

Result<AttachSession> read(const pb::AttachSession& in) {
  AttachSession out{in.owner(), reachOf(in.any_owner()), in.client(), {}, std::nullopt};
  GS_CHECK(wire::checkLength("owner", out.owner.size(), kMostOwner));
  GS_CHECK(wire::checkLength("client", out.client.size(), kMostOwner));
  switch (in.mode()) {
    case pb::AttachSession::MODE_WRITE: out.mode = AttachSession::Mode::kWrite; break;
    case pb::AttachSession::MODE_TAKE_OVER: out.mode = AttachSession::Mode::kTakeOver; break;
    case pb::AttachSession::MODE_VIEW: out.mode = AttachSession::Mode::kView; break;
    default: return fail(wire::fieldError("mode", "is not one that this version knows"));
  }
  if (in.has_output_offset()) out.outputOffset = in.output_offset();
  return out;
}

void write(const SessionInfo& info, pb::SessionInfo& out) {
  out.set_session_id(info.sessionId.text());
  out.set_owner(info.owner);
  out.set_program(info.program);
  writeTerminal(info.terminal, out);
  out.set_lifetime(write(info.lifetime));
  out.set_state(static_cast<pb::SessionInfo::State>(static_cast<int>(info.state) + 1));
  out.set_viewers(info.viewers);
  out.set_output_bytes(info.outputBytes);
  out.set_exit_code(info.exitCode);
  out.set_exit_signal(info.exitSignal);
  out.set_age_ms(static_cast<std::uint64_t>(info.age.count()));
}

Result<SessionInfo> read(const pb::SessionInfo& in) {
  SessionInfo out;
  GS_TRY(out.sessionId, SessionId::parse(in.session_id()));
  GS_CHECK(wire::checkLength("owner", in.owner().size(), kMostOwner));
  GS_CHECK(wire::checkLength("program", in.program().size(), kMostProgram));
  out.owner = in.owner();
  out.program = in.program();
  GS_TRY(out.terminal, readTerminal(in));
  GS_TRY(out.lifetime, read(in.lifetime()));
  switch (in.state()) {
    case pb::SessionInfo::STATE_ATTACHED: out.state = SessionInfo::State::kAttached; break;
    case pb::SessionInfo::STATE_WAITING: out.state = SessionInfo::State::kWaiting; break;
    case pb::SessionInfo::STATE_DETACHED: out.state = SessionInfo::State::kDetached; break;
    case pb::SessionInfo::STATE_ENDED: out.state = SessionInfo::State::kEnded; break;
    default: return fail(wire::fieldError("state", "is not one that this version knows"));
  }
  if (in.exit_code() < 0 || in.exit_code() > 255 || in.exit_signal() < 0 || in.exit_signal() > 64 || in.age_ms() > kMostAgeMs) {
    return fail(wire::fieldError("exit_code", "or its neighbours are out of range"));
  }
  out.viewers = in.viewers();
  out.outputBytes = in.output_bytes();
  out.exitCode = in.exit_code();
  out.exitSignal = in.exit_signal();
  out.age = Millis(static_cast<std::int64_t>(in.age_ms()));
  return out;
}

}  // namespace

namespace {

void writeLogs(const LogsSession& logs, pb::LogsSession* out) {
  if (logs.sinceMs) out->set_since_ms(*logs.sinceMs);
  if (logs.tailLines) out->set_tail_lines(*logs.tailLines);
  out->set_follow(logs.follow == LogsFollow::kYes);
  out->set_after_run(logs.afterRun);
  out->set_after_offset(logs.afterOffset);
}

Result<LogsSession> readLogs(const pb::LogsSession& in) {
  LogsSession out;
  if (in.has_since_ms()) out.sinceMs = in.since_ms();
  if (in.has_tail_lines()) out.tailLines = in.tail_lines();
  out.follow = in.follow() ? LogsFollow::kYes : LogsFollow::kNo;
  if (!in.after_run().empty() && in.after_run().size() != kLogsRunBytes) return fail(wire::fieldError("after_run", "is not of 16 bytes"));
  out.afterRun = in.after_run();
  out.afterOffset = in.after_offset();
  return out;
}

constexpr std::size_t kMostLogBytes = 64 * 1024;

}  // namespace

std::string encode(const LogsFrame& frame) {
  pb::LogsFrame out;
  if (const auto* batch = std::get_if<LogsBatch>(&frame)) {
    out.mutable_batch();
    for (const auto& record : batch->records) {
      auto* to = out.mutable_batch()->add_records();
      to->set_is_stderr(record.stream == LogsStream::kStderr);
      to->set_time_ms(record.timeMs);
      to->set_data(record.data);
      to->set_lost_bytes(record.lostBytes);
      to->set_run(record.run);
      to->set_offset(record.offset);
    }
  } else if (std::holds_alternative<LogsEnd>(frame)) {
    out.mutable_end();
  } else if (const auto* error = std::get_if<Error>(&frame)) {
    wire::write(*error, out.mutable_error());
  }
  return out.SerializeAsString();
}

Result<LogsFrame> decodeLogsFrame(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::LogsFrame>(bytes, "LogsFrame"));
  if (in.has_end()) return LogsFrame(LogsEnd{});
  if (in.has_error()) return LogsFrame(wire::read(in.error()));
  if (!in.has_batch()) return LogsFrame();
  LogsBatch batch;
  for (const auto& record : in.batch().records()) {
    GS_CHECK(wire::checkLength("data", record.data().size(), kMostLogBytes));
    if (record.run().size() != kLogsRunBytes) return fail(wire::fieldError("run", "is not of 16 bytes"));
    batch.records.push_back({record.is_stderr() ? LogsStream::kStderr : LogsStream::kStdout, record.time_ms(), record.data(),
                             record.lost_bytes(), record.run(), record.offset()});
  }
  return LogsFrame(std::move(batch));
}

std::string encode(const SessionOpen& message) {
  pb::SessionOpen out;
  out.set_session_id(message.sessionId.text());
  out.set_sandbox_id(message.sandboxId.text());
  if (const auto* exec = std::get_if<ExecSession>(&message.kind)) {
    write(*exec, *out.mutable_exec());
  } else if (const auto* attach = std::get_if<AttachSession>(&message.kind)) {
    write(*attach, *out.mutable_attach());
  } else if (const auto* end = std::get_if<EndSession>(&message.kind)) {
    out.mutable_end()->set_owner(end->owner);
    out.mutable_end()->set_any_owner(end->reach == AttachSession::Reach::kAll);
  } else if (std::holds_alternative<FilesSession>(message.kind)) {
    out.mutable_files();
  } else if (const auto* logs = std::get_if<LogsSession>(&message.kind)) {
    writeLogs(*logs, out.mutable_logs());
  } else {
    out.mutable_list();
  }
  return out.SerializeAsString();
}

Result<SessionOpen> decodeSessionOpen(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::SessionOpen>(bytes, "SessionOpen"));
  SessionOpen out;
  GS_TRY(out.sessionId, SessionId::parse(in.session_id()));
  GS_TRY(out.sandboxId, SandboxId::parse(in.sandbox_id()));
  switch (in.kind_case()) {
    case pb::SessionOpen::kExec: {
      GS_TRY(out.kind, read(in.exec()));
      return out;
    }
    case pb::SessionOpen::kAttach: {
      GS_TRY(out.kind, read(in.attach()));
      return out;
    }
    case pb::SessionOpen::kLogs: {
      GS_TRY(out.kind, readLogs(in.logs()));
      return out;
    }
    case pb::SessionOpen::kFiles: out.kind = FilesSession{}; return out;
    case pb::SessionOpen::kList: out.kind = ListSessions{}; return out;
    case pb::SessionOpen::kEnd:
      GS_CHECK(wire::checkLength("owner", in.end().owner().size(), kMostOwner));
      out.kind = EndSession{in.end().owner(), reachOf(in.end().any_owner())};
      return out;
    default: return fail(wire::fieldError("kind", "is a session kind that this version does not know"));
  }
}

std::string encode(const SessionsReply& message) {
  pb::SessionsReply out;
  if (message.error) wire::write(*message.error, out.mutable_error());
  for (const auto& info : message.sessions) write(info, *out.add_sessions());
  out.set_more(message.rest == SessionsReply::Rest::kFollows);
  return out.SerializeAsString();
}

Result<SessionsReply> decodeSessionsReply(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::SessionsReply>(bytes, "SessionsReply"));
  SessionsReply out;
  if (in.has_error()) out.error = wire::read(in.error());
  GS_CHECK(wire::checkLength("sessions", static_cast<std::size_t>(in.sessions_size()), kMostSessionsInReply));
  for (const auto& info : in.sessions()) {
    GS_TRY(auto session, read(info));
    out.sessions.push_back(std::move(session));
  }
  out.rest = in.more() ? SessionsReply::Rest::kFollows : SessionsReply::Rest::kNone;
  return out;
}

}  // namespace gs

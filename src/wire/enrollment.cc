#include "wire/convert.h"

namespace gs {
namespace pb = wire::pb;

namespace {
// A chain of a few P-256 certificates is about 1 KiB each.
constexpr std::size_t kMostPem = 64 * 1024;
}  // namespace

std::string encode(const EnrollRequest& message) {
  pb::EnrollRequest out;
  out.set_token(std::string(message.token.reveal()));
  out.set_csr_pem(message.csrPem);
  out.set_host_name(message.hostName);
  wire::write(message.facts, out.mutable_facts());
  return out.SerializeAsString();
}

Result<EnrollRequest> decodeEnrollRequest(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::EnrollRequest>(bytes, "EnrollRequest"));
  GS_CHECK(wire::checkLength("token", in.token().size(), 256));
  GS_CHECK(wire::checkLength("csr_pem", in.csr_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("host_name", in.host_name().size(), 63));
  GS_TRY(auto facts, wire::read(in.facts()));
  return EnrollRequest{SecretString(in.token()), in.csr_pem(), in.host_name(), std::move(facts)};
}

std::string encode(const EnrollResponse& message) {
  pb::EnrollResponse out;
  out.set_host_id(message.hostId.text());
  out.set_cluster_id(message.clusterId.text());
  out.set_host_name(message.hostName);
  out.set_certificate_pem(message.certificatePem);
  out.set_ca_pem(message.caPem);
  return out.SerializeAsString();
}

Result<EnrollResponse> decodeEnrollResponse(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::EnrollResponse>(bytes, "EnrollResponse"));
  EnrollResponse out;
  GS_TRY(out.hostId, HostId::parse(in.host_id()));
  GS_TRY(out.clusterId, ClusterId::parse(in.cluster_id()));
  GS_CHECK(wire::checkLength("certificate_pem", in.certificate_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("ca_pem", in.ca_pem().size(), kMostPem));
  out.hostName = in.host_name();
  out.certificatePem = in.certificate_pem();
  out.caPem = in.ca_pem();
  return out;
}

std::string encode(const RenewRequest& message) {
  pb::RenewRequest out;
  out.set_csr_pem(message.csrPem);
  return out.SerializeAsString();
}

Result<RenewRequest> decodeRenewRequest(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::RenewRequest>(bytes, "RenewRequest"));
  GS_CHECK(wire::checkLength("csr_pem", in.csr_pem().size(), kMostPem));
  return RenewRequest{in.csr_pem()};
}

std::string encode(const RenewResponse& message) {
  pb::RenewResponse out;
  out.set_certificate_pem(message.certificatePem);
  out.set_ca_pem(message.caPem);
  return out.SerializeAsString();
}

Result<RenewResponse> decodeRenewResponse(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::RenewResponse>(bytes, "RenewResponse"));
  GS_CHECK(wire::checkLength("certificate_pem", in.certificate_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("ca_pem", in.ca_pem().size(), kMostPem));
  return RenewResponse{in.certificate_pem(), in.ca_pem()};
}

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
  if (message.files) {
    out.mutable_files();
    return out.SerializeAsString();
  }
  if (message.logs) {
    writeLogs(*message.logs, out.mutable_logs());
    return out.SerializeAsString();
  }
  auto* exec = out.mutable_exec();
  for (const auto& arg : message.exec.argv) exec->add_argv(arg);
  for (const auto& entry : message.exec.env) exec->add_env(entry);
  exec->set_working_dir(message.exec.workingDir);
  exec->set_user(message.exec.user);
  if (message.exec.terminal) {
    exec->mutable_terminal()->set_rows(message.exec.terminal->rows);
    exec->mutable_terminal()->set_columns(message.exec.terminal->columns);
  }
  return out.SerializeAsString();
}

Result<SessionOpen> decodeSessionOpen(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::SessionOpen>(bytes, "SessionOpen"));
  SessionOpen out;
  GS_TRY(out.sessionId, SessionId::parse(in.session_id()));
  GS_TRY(out.sandboxId, SandboxId::parse(in.sandbox_id()));
  if (in.has_files()) {
    out.files.emplace();
    return out;
  }
  if (in.has_logs()) {
    GS_TRY(out.logs, readLogs(in.logs()));
    return out;
  }
  if (!in.has_exec()) return fail(wire::fieldError("kind", "is a session kind that this version does not know"));
  if (in.exec().has_terminal()) {
    out.exec.terminal = TerminalSize{in.exec().terminal().rows(), in.exec().terminal().columns()};
    if (!isTerminalSize(*out.exec.terminal)) return fail(wire::fieldError("terminal", "has a side outside 1..10000"));
  }
  if (in.exec().argv_size() == 0 && !out.exec.terminal) return fail(wire::fieldError("argv", "is empty"));
  GS_CHECK(wire::checkLength("argv", static_cast<std::size_t>(in.exec().argv_size()), 4096));
  GS_CHECK(wire::checkLength("env", static_cast<std::size_t>(in.exec().env_size()), 1024));
  out.exec.argv.assign(in.exec().argv().begin(), in.exec().argv().end());
  out.exec.env.assign(in.exec().env().begin(), in.exec().env().end());
  out.exec.workingDir = in.exec().working_dir();
  out.exec.user = in.exec().user();
  return out;
}

}  // namespace gs

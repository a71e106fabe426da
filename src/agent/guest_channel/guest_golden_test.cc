// Bytes of every message of the guest protocol, as files: a change of the contract that old guests would not understand
// shows here. GS_UPDATE_GOLDEN=1 writes them anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "agent/guest_channel/guest_messages.h"
#include "globalstacks/guest/v1/guest.pb.h"

namespace gs {
namespace {

namespace pb = globalstacks::guest::v1;

std::string sourcePath(const std::string& relative) { return std::string(GS_SOURCE_DIR) + "/" + relative; }

std::optional<std::string> readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// File name → bytes. The part of the name before a dot is the message's.
using Goldens = std::map<std::string, std::string>;

pb::ProcessSpec processSpec() {
  pb::ProcessSpec spec;
  spec.add_argv("sh");
  spec.add_argv("-c");
  spec.add_argv("echo ü");
  spec.add_env("A=b");
  spec.set_working_dir("/work");
  spec.set_user("app:1000");
  return spec;
}

pb::WorkloadExited workloadExited() {
  pb::WorkloadExited exited;
  exited.set_exit_code(127);
  exited.set_signal(9);
  exited.set_start_error("cannot run \"x\"");
  return exited;
}

pb::GuestHello guestHello() {
  pb::GuestHello hello;
  hello.set_protocol(1);
  hello.set_version("0.1.339-6d0940d");
  hello.set_gate_open(true);
  hello.mutable_workload_started()->set_pid(7);
  return hello;
}

pb::GateOpened gateOpened() {
  pb::GateOpened opened;
  *opened.mutable_workload_exited() = workloadExited();
  return opened;
}

pb::OpenGate openGate() {
  pb::OpenGate open;
  *open.mutable_workload() = processSpec();
  open.add_env("HOME=/root");
  open.set_sandbox_id("sbx_0123456789abcdefghjk");
  return open;
}

pb::StartExec startExec() {
  pb::StartExec start;
  start.set_exec_id(0x1122334455667788);
  start.set_key("0123456789abcdef");
  *start.mutable_process() = processSpec();
  return start;
}

pb::TerminalSize terminalSize() {
  pb::TerminalSize size;
  size.set_rows(50);
  size.set_columns(132);
  return size;
}

pb::ExecFailed execFailed() {
  pb::ExecFailed failed;
  failed.set_exec_id(42);
  failed.set_kind(pb::ExecFailed::KIND_BUSY);
  failed.set_message("512 execs run already");
  return failed;
}

pb::OutputChunk outputChunk() {
  pb::OutputChunk chunk;
  for (const auto stream : {pb::OutputRecord::STREAM_STDOUT, pb::OutputRecord::STREAM_STDERR}) {
    auto& record = *chunk.add_records();
    record.set_offset(77 + static_cast<std::uint64_t>(chunk.records_size() - 1) * 5);
    record.set_stream(stream);
    record.set_read_at_ms(1'700'000'000'123);
    record.set_data(std::string("out\0\xff", 5));
  }
  return chunk;
}

pb::ExecAttach execAttach() {
  pb::ExecAttach attach;
  attach.set_exec_id(42);
  attach.set_key("0123456789abcdef");
  return attach;
}

pb::StartFiles startFiles() {
  pb::StartFiles start;
  start.set_exec_id(0x8877665544332211);
  start.set_key("0123456789abcdef");
  return start;
}

pb::ExecExit execExit() {
  pb::ExecExit exit;
  exit.set_exit_code(3);
  exit.set_signal(15);
  exit.set_start_error("no such program");
  return exit;
}

pb::SessionSpec sessionSpec() {
  pb::SessionSpec spec;
  spec.set_session_id("ses_0123456789abcdefghjk");
  spec.set_owner("usr_0123456789abcdefghjk");
  spec.set_client("cli-1");
  spec.set_lifetime(pb::SessionSpec::LIFETIME_GRACE);
  spec.set_grace_ms(60'000);
  return spec;
}

pb::SessionInfo sessionInfo() {
  pb::SessionInfo info;
  info.set_session_id("ses_0123456789abcdefghjk");
  info.set_owner("usr_0123456789abcdefghjk");
  info.set_program("top");
  *info.mutable_terminal() = terminalSize();
  info.set_lifetime(pb::SessionSpec::LIFETIME_DETACHED);
  info.set_state(pb::SessionInfo::STATE_ENDED);
  info.set_viewers(2);
  info.set_output_bytes(123'456);
  *info.mutable_exit() = execExit();
  info.set_age_ms(5'000);
  return info;
}

pb::SessionAttached sessionAttached() {
  pb::SessionAttached attached;
  attached.set_pid(7);
  attached.set_output_offset(4'096);
  attached.set_input_offset(17);
  *attached.mutable_terminal() = terminalSize();
  return attached;
}

pb::AttachSession attachSession() {
  pb::AttachSession attach;
  attach.set_exec_id(0x1122334455667788);
  attach.set_key("0123456789abcdef");
  attach.set_session_id("ses_0123456789abcdefghjk");
  attach.set_owner("usr_0123456789abcdefghjk");
  attach.set_any_owner(true);
  attach.set_client("cli-1");
  attach.set_mode(pb::AttachSession::MODE_TAKE_OVER);
  attach.set_output_offset(4'096);
  return attach;
}

template <class Message>
Message numbered(void (Message::*set)(std::uint64_t)) {
  Message message;
  (message.*set)(0x8877665544332211);
  return message;
}

Goldens makeGoldens() {
  Goldens goldens;
  const auto put = [&](const std::string& name, const google::protobuf::MessageLite& message) {
    goldens[name] = message.SerializeAsString();
  };
  const auto ping = numbered<pb::Ping>(&pb::Ping::set_nonce);
  const auto pong = numbered<pb::Pong>(&pb::Pong::set_nonce);
  pb::StopWorkload stop;
  stop.set_grace_ms(10'000);
  pb::WorkloadStarted started;
  started.set_pid(7);

  put("ProcessSpec", processSpec());
  put("WorkloadStarted", started);
  put("WorkloadExited", workloadExited());
  put("GuestHello", guestHello());
  put("OpenGate", openGate());
  put("GateOpened", gateOpened());
  put("StartExec", startExec());
  put("TerminalSize", terminalSize());
  put("StartFiles", startFiles());
  put("ExecFailed", execFailed());
  put("StopWorkload", stop);
  put("Ping", ping);
  put("Pong", pong);
  put("ExecAttach", execAttach());
  put("ExecExit", execExit());
  put("OutputChunk", outputChunk());
  put("OutputRecord", outputChunk().records(0));
  pb::OutputState kept;
  kept.set_run("0123456789abcdef");
  kept.set_end(82);
  put("OutputState", kept);
  const auto read = numbered<pb::ReadOutput>(&pb::ReadOutput::set_offset);
  put("ReadOutput", read);

  pb::ListSessions listSessions;
  listSessions.set_nonce(9);
  listSessions.set_after("ses_0123456789abcdefghjk");
  pb::SessionList sessionList;
  sessionList.set_nonce(9);
  *sessionList.add_sessions() = sessionInfo();
  pb::EndSession endSession;
  endSession.set_nonce(10);
  endSession.set_session_id("ses_0123456789abcdefghjk");
  endSession.set_owner("usr_0123456789abcdefghjk");
  pb::SessionEnding sessionEnding;
  sessionEnding.set_nonce(10);
  sessionEnding.set_found(true);
  put("SessionSpec", sessionSpec());
  put("SessionInfo", sessionInfo());
  put("SessionAttached", sessionAttached());
  put("AttachSession", attachSession());
  put("ListSessions", listSessions);
  put("SessionList", sessionList);
  put("EndSession", endSession);
  put("SessionEnding", sessionEnding);

  pb::GuestFrame up;
  *up.mutable_session_list() = sessionList;
  put("GuestFrame.session_list", up);
  *up.mutable_session_ending() = sessionEnding;
  put("GuestFrame.session_ending", up);
  *up.mutable_hello() = guestHello();
  up.mutable_hello()->add_features("sessions");
  put("GuestFrame.hello.features", up);
  *up.mutable_hello() = guestHello();
  put("GuestFrame.hello", up);
  *up.mutable_gate_opened() = gateOpened();
  put("GuestFrame.gate_opened", up);
  *up.mutable_workload_exited() = workloadExited();
  put("GuestFrame.workload_exited", up);
  *up.mutable_exec_failed() = execFailed();
  put("GuestFrame.exec_failed", up);
  *up.mutable_pong() = pong;
  put("GuestFrame.pong", up);
  *up.mutable_exec_attach() = execAttach();
  put("GuestFrame.exec_attach", up);
  *up.mutable_output() = outputChunk();
  put("GuestFrame.output", up);
  *up.mutable_hello() = guestHello();
  *up.mutable_hello()->mutable_output() = kept;
  put("GuestFrame.hello.output", up);

  pb::AgentFrame down;
  *down.mutable_open_gate() = openGate();
  put("AgentFrame.open_gate", down);
  *down.mutable_start_exec() = startExec();
  put("AgentFrame.start_exec", down);
  *down.mutable_start_exec()->mutable_terminal() = terminalSize();
  put("AgentFrame.start_exec.terminal", down);
  down.mutable_start_exec()->clear_terminal();
  *down.mutable_start_exec()->mutable_session() = sessionSpec();
  put("AgentFrame.start_exec.session", down);
  *down.mutable_attach_session() = attachSession();
  put("AgentFrame.attach_session", down);
  *down.mutable_list_sessions() = listSessions;
  put("AgentFrame.list_sessions", down);
  *down.mutable_end_session() = endSession;
  put("AgentFrame.end_session", down);
  *down.mutable_start_files() = startFiles();
  put("AgentFrame.start_files", down);
  *down.mutable_stop_workload() = stop;
  put("AgentFrame.stop_workload", down);
  *down.mutable_ping() = ping;
  put("AgentFrame.ping", down);
  *down.mutable_read_output() = read;
  put("AgentFrame.read_output", down);

  pb::ExecFrame exec;
  exec.set_stdin_data(std::string("in\0\xff", 4));
  put("ExecFrame.stdin_data", exec);
  exec.set_stdin_eof(true);
  put("ExecFrame.stdin_eof", exec);
  exec.set_signal(15);
  put("ExecFrame.signal", exec);
  exec.set_started_pid(7);
  put("ExecFrame.started_pid", exec);
  exec.set_stdout_data(std::string("out\0\xff", 5));
  put("ExecFrame.stdout_data", exec);
  exec.set_stderr_data("err");
  put("ExecFrame.stderr_data", exec);
  *exec.mutable_resize() = terminalSize();
  put("ExecFrame.resize", exec);
  *exec.mutable_resized() = terminalSize();
  put("ExecFrame.resized", exec);
  *exec.mutable_exit() = execExit();
  put("ExecFrame.exit", exec);
  *exec.mutable_attached() = sessionAttached();
  put("ExecFrame.attached", exec);
  exec.set_output_ack(65'536);
  put("ExecFrame.output_ack", exec);
  exec.set_input_ack(32'768);
  put("ExecFrame.input_ack", exec);
  exec.set_leave(pb::LEAVE_DETACH);
  put("ExecFrame.leave", exec);
  exec.set_cut(pb::CUT_TOO_SLOW);
  put("ExecFrame.cut", exec);
  return goldens;
}

std::string goldenFile(const std::string& name) { return sourcePath("tests/golden/guest/" + name + ".bin"); }
std::string golden(const std::string& name) { return readFile(goldenFile(name)).value_or("(missing)"); }

TEST(GuestGolden, BytesAreAsRecorded) {
  for (const auto& [name, bytes] : makeGoldens()) {
    if (std::getenv("GS_UPDATE_GOLDEN") != nullptr) {
      std::ofstream(goldenFile(name), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    EXPECT_EQ(golden(name), bytes) << name;
  }
}

TEST(GuestGolden, EveryMessageOfTheContractHasOne) {
  const auto proto = readFile(sourcePath("proto/globalstacks/guest/v1/guest.proto"));
  ASSERT_TRUE(proto);
  std::set<std::string> covered;
  for (const auto& [name, bytes] : makeGoldens()) covered.insert(name.substr(0, name.find('.')));
  const std::regex message("\n *message +([A-Za-z0-9_]+)");
  int count = 0;
  for (std::sregex_iterator it(proto->begin(), proto->end(), message), end; it != end; ++it, ++count) {
    EXPECT_TRUE(covered.contains((*it)[1])) << (*it)[1] << " has no golden bytes";
  }
  EXPECT_EQ(static_cast<std::size_t>(count), covered.size());
}

const WorkloadState kFailedWorkload{WorkloadState::Phase::kExited, 0, {127, 9, "cannot run \"x\""}};

TEST(GuestGolden, GuestFramesDecodeToTheirValues) {
  EXPECT_EQ(std::get<GuestHello>(decodeGuestFrame(golden("GuestFrame.hello")).value()),
            (GuestHello{1, "0.1.339-6d0940d", true, {WorkloadState::Phase::kRunning, 7, {}}}));
  EXPECT_EQ(std::get<GateOpened>(decodeGuestFrame(golden("GuestFrame.gate_opened")).value()),
            (GateOpened{kFailedWorkload}));
  EXPECT_EQ(std::get<WorkloadExited>(decodeGuestFrame(golden("GuestFrame.workload_exited")).value()),
            (WorkloadExited{kFailedWorkload.exit}));
  const auto failed = std::get<ExecFailed>(decodeGuestFrame(golden("GuestFrame.exec_failed")).value());
  EXPECT_EQ(failed.execId, 42U);
  EXPECT_EQ(failed.error.code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(std::get<Pong>(decodeGuestFrame(golden("GuestFrame.pong")).value()).nonce, 0x8877665544332211U);
  const auto attach = std::get<ExecAttach>(decodeGuestFrame(golden("GuestFrame.exec_attach")).value());
  EXPECT_EQ(attach.execId, 42U);
  EXPECT_EQ(attach.key, "0123456789abcdef");
}

TEST(GuestGolden, ExecFramesDecodeToTheirValues) {
  EXPECT_EQ(std::get<ExecStarted>(decodeExecFrame(golden("ExecFrame.started_pid")).value()).pid, 7);
  EXPECT_EQ(std::get<ExecStdout>(decodeExecFrame(golden("ExecFrame.stdout_data")).value()).data,
            std::string("out\0\xff", 5));
  EXPECT_EQ(std::get<ExecStderr>(decodeExecFrame(golden("ExecFrame.stderr_data")).value()).data, "err");
  EXPECT_EQ(std::get<ProcessExit>(decodeExecFrame(golden("ExecFrame.exit")).value()),
            (ProcessExit{3, 15, "no such program"}));
  for (const char* ours : {"ExecFrame.stdin_data", "ExecFrame.stdin_eof", "ExecFrame.signal"}) {
    EXPECT_EQ(decodeExecFrame(golden(ours)).error().code, ErrorCode::kDataLoss) << ours;
  }
}

TEST(GuestGolden, SessionFramesDecodeToTheirValues) {
  EXPECT_TRUE(std::get<GuestHello>(decodeGuestFrame(golden("GuestFrame.hello.features")).value()).keepsSessions);
  EXPECT_FALSE(std::get<GuestHello>(decodeGuestFrame(golden("GuestFrame.hello")).value()).keepsSessions);
  const auto list = std::get<SessionList>(decodeGuestFrame(golden("GuestFrame.session_list")).value());
  EXPECT_EQ(list.nonce, 9U);
  ASSERT_EQ(list.sessions.size(), 1U);
  EXPECT_EQ(list.sessions.front(),
            (SessionSummary{"ses_0123456789abcdefghjk", "usr_0123456789abcdefghjk", "top", TerminalSize{50, 132}, SessionLifetime::kDetached,
                            SessionSummary::State::kEnded, 2, 123'456, ProcessExit{3, 15, "no such program"}, Millis(5'000)}));
  EXPECT_TRUE(std::get<SessionEnding>(decodeGuestFrame(golden("GuestFrame.session_ending")).value()).found);
  const auto start = std::get<SessionStart>(decodeExecFrame(golden("ExecFrame.attached")).value());
  EXPECT_EQ(start.outputOffset, 4'096U);
  EXPECT_EQ(start.inputOffset, 17U);
  EXPECT_EQ(start.terminal, (TerminalSize{50, 132}));
  EXPECT_EQ(std::get<ExecInputAck>(decodeExecFrame(golden("ExecFrame.input_ack")).value()).offset, 32'768U);
  EXPECT_EQ(std::get<SessionCut>(decodeExecFrame(golden("ExecFrame.cut")).value()), SessionCut::kTooSlow);
  for (const char* ours : {"ExecFrame.output_ack", "ExecFrame.leave"}) {
    EXPECT_EQ(decodeExecFrame(golden(ours)).error().code, ErrorCode::kDataLoss) << ours;
  }
}

TEST(GuestGolden, SessionRequestsAreEncodedAsRecorded) {
  ProcessSpec spec{{"sh", "-c", "echo ü"}, {"A=b"}, "/work", "app:1000"};
  spec.session = SessionSpec{"ses_0123456789abcdefghjk", "usr_0123456789abcdefghjk", "cli-1", SessionLifetime::kGrace, Millis(60'000)};
  EXPECT_EQ(encodeStartExec(0x1122334455667788, "0123456789abcdef", spec).value(), golden("AgentFrame.start_exec.session"));
  const AttachSpec attach{"ses_0123456789abcdefghjk", {"usr_0123456789abcdefghjk", SessionClaim::Reach::kAll}, "cli-1",
                          AttachSpec::Mode::kTakeOver, 4'096};
  EXPECT_EQ(encodeAttachSession(0x1122334455667788, "0123456789abcdef", attach).value(), golden("AgentFrame.attach_session"));
  EXPECT_EQ(encodeListSessions(9, "ses_0123456789abcdefghjk"), golden("AgentFrame.list_sessions"));
  EXPECT_EQ(encodeEndSession(10, "ses_0123456789abcdefghjk", {"usr_0123456789abcdefghjk", {}}).value(), golden("AgentFrame.end_session"));
  EXPECT_EQ(encodeExecOutputAck(65'536), golden("ExecFrame.output_ack"));
  EXPECT_EQ(encodeExecLeave(SessionLeave::kDetach), golden("ExecFrame.leave"));
  spec.session->owner = std::string(65, 'x');
  EXPECT_EQ(encodeStartExec(1, "0123456789abcdef", spec).error().code, ErrorCode::kInvalidArgument);
}

TEST(GuestGolden, WhatTheAgentSaysIsEncodedAsRecorded) {
  const ProcessSpec spec{{"sh", "-c", "echo ü"}, {"A=b"}, "/work", "app:1000"};
  EXPECT_EQ(encodeOpenGate({spec, {"HOME=/root"}, "sbx_0123456789abcdefghjk"}).value(), golden("AgentFrame.open_gate"));
  EXPECT_EQ(encodeStartExec(0x1122334455667788, "0123456789abcdef", spec).value(), golden("AgentFrame.start_exec"));
  EXPECT_EQ(encodeStopWorkload(Millis(10'000)), golden("AgentFrame.stop_workload"));
  EXPECT_EQ(encodePing(0x8877665544332211), golden("AgentFrame.ping"));
  EXPECT_EQ(encodeExecStdin(std::string("in\0\xff", 4)), golden("ExecFrame.stdin_data"));
  EXPECT_EQ(encodeExecStdinEof(), golden("ExecFrame.stdin_eof"));
  EXPECT_EQ(encodeExecSignal(15), golden("ExecFrame.signal"));
}

struct HostileRow {
  std::string_view reason;
  pb::GuestFrame frame;
};

TEST(DecodeGuestFrame, RefusesWhatCannotBe) {
  HostileRow rows[] = {{"an exit code of no process", {}}, {"a negative exit code", {}}, {"a signal beyond the last", {}},
                       {"a workload without a pid", {}},   {"a short key", {}},          {"a long key", {}}};
  rows[0].frame.mutable_workload_exited()->set_exit_code(256);
  rows[1].frame.mutable_workload_exited()->set_exit_code(-1);
  rows[2].frame.mutable_workload_exited()->set_signal(65);
  rows[3].frame.mutable_gate_opened()->mutable_workload_started();
  rows[4].frame.mutable_exec_attach()->set_key("short");
  rows[5].frame.mutable_exec_attach()->set_key(std::string(17, 'k'));
  for (const auto& row : rows) {
    const auto decoded = decodeGuestFrame(row.frame.SerializeAsString());
    ASSERT_FALSE(decoded) << row.reason;
    EXPECT_EQ(decoded.error().code, ErrorCode::kDataLoss) << row.reason;
  }
  EXPECT_EQ(decodeGuestFrame("\xff\xff\xff").error().code, ErrorCode::kDataLoss);
}

TEST(DecodeGuestFrame, CutsAndCleansText) {
  pb::GuestFrame frame;
  frame.mutable_hello()->set_version(std::string(5000, 'v'));
  frame.mutable_hello()->mutable_workload_exited()->set_start_error("\x1b[2J" + std::string(50'000, 'e'));
  const auto hello = std::get<GuestHello>(decodeGuestFrame(frame.SerializeAsString()).value());
  EXPECT_LE(hello.version.size(), 80U);
  EXPECT_LE(hello.workload.exit.startError.size(), 1100U);
  EXPECT_EQ(hello.workload.exit.startError.find('\x1b'), std::string::npos);
}

TEST(DecodeGuestFrame, PassesOverWhatItDoesNotKnow) {
  EXPECT_TRUE(std::holds_alternative<std::monostate>(decodeGuestFrame("").value()));
  EXPECT_TRUE(std::holds_alternative<std::monostate>(decodeGuestFrame("\xfa\x01\x01z").value()));  // field 31
  EXPECT_TRUE(std::holds_alternative<std::monostate>(decodeExecFrame("").value()));
}

struct RefusedSpecRow {
  std::string_view reason;
  ProcessSpec spec;
};

TEST(EncodeStartExec, RefusesWhatTheGuestCouldNotTake) {
  const RefusedSpecRow rows[] = {
      {"no program", {}},
      {"an empty program", {{""}, {}, "", ""}},
      {"too many arguments", {std::vector<std::string>(4097, "x"), {}, "", ""}},
      {"too many bytes", {{"x", std::string(48 * 1024, 'x')}, {}, "", ""}},
      {"a zero byte", {{std::string("a\0b", 3)}, {}, "", ""}},
      {"an argument that is not UTF-8 would make the frame unreadable", {{"\xc3("}, {}, "", ""}},
      {"a surrogate is not UTF-8", {{"\xed\xa0\x80"}, {}, "", ""}},
      {"an overlong form is not UTF-8", {{"\xe0\x80\x80"}, {}, "", ""}},
      {"a cut sequence is not UTF-8", {{"\xe2\x82"}, {}, "", ""}},
      {"a variable without a name", {{"x"}, {"=a"}, "", ""}},
      {"a variable without a value", {{"x"}, {"a"}, "", ""}},
      {"too many variables", {{"x"}, std::vector<std::string>(1025, "a=b"), "", ""}},
      {"a relative directory", {{"x"}, {}, "tmp", ""}},
      {"more than a frame", {{"x"}, {"a=" + std::string(70'000, 'x')}, "", ""}},
  };
  for (const auto& row : rows) {
    const auto encoded = encodeStartExec(1, "0123456789abcdef", row.spec);
    ASSERT_FALSE(encoded) << row.reason;
    EXPECT_EQ(encoded.error().code, ErrorCode::kInvalidArgument) << row.reason;
  }
  EXPECT_TRUE(encodeStartExec(1, "0123456789abcdef", {{"x", "\xf0\x9f\x98\x80 \xe2\x82\xac ü"}, {}, "", ""}));
}

TEST(GuestGolden, ReadsOutputAsItWasSentAndRefusesWhatCannotBe) {
  const auto records = std::get<OutputRecords>(decodeGuestFrame(golden("GuestFrame.output")).value()).records;
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0], (OutputRecord{77, OutputStream::kStdout, 1'700'000'000'123, std::string("out\0\xff", 5)}));
  EXPECT_EQ(records[1].offset, 82U);
  EXPECT_EQ(records[1].stream, OutputStream::kStderr);
  const auto hello = std::get<GuestHello>(decodeGuestFrame(golden("GuestFrame.hello.output")).value());
  EXPECT_EQ(hello.outputRun, "0123456789abcdef");
  EXPECT_EQ(hello.outputEnd, 82U);
  EXPECT_EQ(encodeReadOutput(0x8877665544332211), golden("AgentFrame.read_output"));
  const auto refused = [](const auto& change) {
    pb::GuestFrame frame;
    *frame.mutable_output() = outputChunk();
    change(*frame.mutable_output());
    return decodeGuestFrame(frame.SerializeAsString());
  };
  EXPECT_FALSE(refused([](auto& chunk) { chunk.clear_records(); })) << "nothing is no answer";
  EXPECT_FALSE(refused([](auto& chunk) { chunk.mutable_records(0)->clear_data(); }));
  EXPECT_FALSE(refused([](auto& chunk) { chunk.mutable_records(0)->clear_stream(); }));
  EXPECT_FALSE(refused([](auto& chunk) { chunk.mutable_records(1)->set_offset(83); })) << "something is missing in between";
  EXPECT_FALSE(refused([](auto& chunk) { chunk.mutable_records(0)->set_offset(~0ULL); }));
  EXPECT_FALSE(refused([](auto& chunk) { chunk.mutable_records(1)->set_data(std::string(16 * 1024 + 1, 'x')); }));
  const auto late = refused([](auto& chunk) { chunk.mutable_records(0)->set_read_at_ms(1LL << 60); });
  EXPECT_LE(std::get<OutputRecords>(late.value()).records[0].readAtMs, toUnixMillis(SystemClock().wallNow())) << "the future is not believed";
}

}  // namespace
}  // namespace gs

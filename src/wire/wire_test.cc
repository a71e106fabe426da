#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "base/encoding.h"
#include "wire/messages.h"
#include "wire/session_frames.h"

// Golden bytes: every message of the agent contract has a file under tests/golden/agent/ that an older build wrote.
// A test reads it back and compares; GSTACKS_WRITE_GOLDEN=1 writes files that are missing, and never changes one.
namespace gs {
namespace {

namespace fs = std::filesystem;

const std::string kId = "sbx_0123456789abcdefghjk";

HostFacts sampleFacts() {
  HostFacts facts;
  facts.agentVersion = "0.1.339-6d0940d";
  facts.osName = "Debian GNU/Linux";
  facts.osVersion = "12";
  facts.architecture = "amd64";
  facts.kernel = "6.1.0-18-amd64";
  facts.hostname = "build-1";
  facts.cpuCount = 8;
  facts.cpuModel = "Example CPU";
  facts.memoryBytes = 16ULL << 30;
  facts.diskBytes = 512ULL << 30;
  facts.traits = {"linux", "amd64", "docker"};
  facts.runtimes = {{"docker", RuntimeState::kHealthy, "20.10.24", ""},
                    {"sbx", RuntimeState::kComingSoon, "", "coming soon"}};
  facts.conditions = {{"docker_live_restore_off", "containers stop with the engine", "set live-restore"}};
  facts.bootId = "3f0d1c1e-0000-4000-8000-000000000001";
  return facts;
}

HostTelemetry sampleTelemetry() { return {8ULL << 30, 100ULL << 30, 3600, 250, 500, 750, 12ULL << 20, 3}; }

Assignment sampleAssignment() {
  Assignment a;
  a.sandboxId = SandboxId::trusted(kId);
  a.generation = 7;
  a.desired = DesiredState::kStopped;
  a.spec.name = "web";
  a.spec.manifest = Digest::of("manifest");
  a.spec.blueprintName = "debian";
  a.spec.command = {"sleep", "infinity"};
  a.spec.env = {{"LANG", "C.UTF-8"}, {"EMPTY", ""}};
  a.spec.workingDir = "/srv";
  a.spec.user = "nobody";
  a.spec.resources = {1500, 1ULL << 30, 256};
  a.stopGrace = Millis(5000);
  return a;
}

Observation sampleObservation() {
  Observation o;
  o.sandboxId = SandboxId::trusted(kId);
  o.generation = 7;
  o.sequence = 42;
  o.state = SandboxState::kFailed;
  o.reason = "workload_exited";
  o.message = "the workload ended with code 3";
  o.exit = ExitInfo{3, 0, false, fromUnixMillis(1'767'323'045'678)};
  o.observedAt = fromUnixMillis(1'767'323'045'679);
  o.startedAt = fromUnixMillis(1'767'323'000'000);
  return o;
}

Assignment assignmentWithMemory() {
  Assignment a = sampleAssignment();
  a.known = sampleObservation();
  return a;
}

Assignment wholeAssignment() {
  Assignment a = sampleAssignment();
  a.desired = DesiredState::kArchived;
  a.spec.restart = {RestartMode::kOnFailure, 5};
  a.spec.stopAfterDisconnect = Seconds(600);
  a.rootGeneration = 6;
  a.known = sampleObservation();
  a.known->restarts = 2;
  a.known->exit->cause = ExitCause::kOutOfMemory;
  return a;
}

AgentMessage up(decltype(AgentMessage::body) body) { return {5, std::move(body)}; }
ServerMessage down(decltype(ServerMessage::body) body) { return {5, std::move(body)}; }

// What is written, and a check that what is read back says the same (by encoding it again).
struct GoldenCase {
  std::string name;  // the message's name in the .proto files
  std::string bytes;
  std::function<Result<std::string>(std::string_view)> again;
};

template <class T, class F>
GoldenCase golden(std::string name, const T& value, F decode) {
  return {std::move(name), encode(value), [decode](std::string_view bytes) -> Result<std::string> {
            GS_TRY(const auto read, decode(bytes));
            return encode(read);
          }};
}

GoldenCase goldenUp(std::string name, decltype(AgentMessage::body) body) {
  return golden(std::move(name), up(std::move(body)), decodeAgentMessage);
}
GoldenCase goldenDown(std::string name, decltype(ServerMessage::body) body) {
  return golden(std::move(name), down(std::move(body)), decodeServerMessage);
}

std::vector<GoldenCase> allCases() {
  const auto time = fromUnixMillis(1'767'323'045'678);
  Hello hello;
  hello.features = {"exec"};
  hello.facts = sampleFacts();
  hello.telemetry = sampleTelemetry();
  hello.assignmentsDigest = assignmentsDigest({{SandboxId::trusted(kId), 7}});
  hello.lastEpoch = 4;
  AssignmentAck refused{SandboxId::trusted(kId), 7, makeError(ErrorCode::kUnimplemented, "no such runtime")};
  BlobCredentialReply reply{9, std::nullopt, SecretString("gsd_x_y"), time, R"({"formatVersion":1})"};
  OpenChannels channels;
  channels.tickets.emplace_back("ticket-1");
  const EnrollRequest enroll{SecretString("gsp_a_b_c"), "csr", "build-1", sampleFacts()};
  const EnrollResponse enrolled{HostId::trusted("hst_0123456789abcdefghjk"),
                                ClusterId::trusted("clu_0123456789abcdefghjk"), "build-1", "cert", "ca"};
  const SessionOpen open{SessionId::trusted("ses_0123456789abcdefghjk"), SandboxId::trusted(kId),
                         ExecSession{{"echo", "hi"}, {"A=b"}, "/", "root"}};
  SessionOpen logs = open;
  logs.kind = LogsSession{1'700'000'000'123, 0, LogsFollow::kYes, std::string(kLogsRunBytes, 'r'), 77};
  const LogsFrame logBatch(LogsBatch{{{LogsStream::kStderr, 1'700'000'000'123, std::string("out\0\xff", 5), 9, std::string(kLogsRunBytes, 'r'), 82}}});
  SessionOpen terminal = open;
  terminal.kind = ExecSession{{}, {"A=b"}, "/", "root", TerminalSize{50, 132}};
  SessionOpen files = open;
  files.kind = FilesSession{};
  SessionOpen kept = open;
  kept.kind = ExecSession{{"top"}, {}, "", "", TerminalSize{24, 80},
                          SessionPolicy{"usr_1", "cli-1", SessionPolicy::Lifetime::kGrace, Millis(60'000)}};
  SessionOpen attach = open;
  attach.kind = AttachSession{"usr_1", AttachSession::Reach::kAll, "cli-1", AttachSession::Mode::kTakeOver, 4096};
  SessionOpen list = open;
  list.kind = ListSessions{};
  SessionOpen end = open;
  end.kind = EndSession{"usr_1", AttachSession::Reach::kOwn};
  SessionsReply sessions;
  sessions.sessions.push_back({open.sessionId, "usr_1", "top", TerminalSize{24, 80}, SessionPolicy::Lifetime::kDetached,
                               SessionInfo::State::kEnded, 2, 123'456, 0, 15, Millis(5'000)});
  sessions.rest = SessionsReply::Rest::kFollows;
  Error status = makeError(ErrorCode::kUnauthenticated, "the token has expired").withReason("token_expired");
  status.fix = "create another";
  return {
      goldenUp("Hello", hello),
      goldenUp("AgentMessage", Heartbeat{11, sampleTelemetry()}),
      goldenUp("Heartbeat", Heartbeat{12, sampleTelemetry()}),
      goldenUp("HostTelemetry", Heartbeat{13, sampleTelemetry()}),
      goldenUp("Inventory", Inventory{{{SandboxId::trusted(kId), 7}}}),
      goldenUp("AssignmentVersion", Inventory{{{SandboxId::trusted(kId), 8}}}),
      goldenUp("AssignmentVersion.sequence", Inventory{{{SandboxId::trusted(kId), 8, 42}}}),
      goldenUp("AssignmentAck", refused),
      goldenUp("BlobCredentialRequest", BlobCredentialRequest{9, Digest::of("manifest")}),
      goldenDown("HelloAck", HelloAck{5, Millis(3000), {"exec"}, time}),
      goldenDown("ServerMessage", HeartbeatAck{11}),
      goldenDown("HeartbeatAck", HeartbeatAck{12}),
      goldenDown("InventoryRequest", InventoryRequest{}),
      goldenDown("ObservationAck", ObservationAck{SandboxId::trusted(kId), 42}),
      goldenDown("BlobCredentialReply", reply),
      goldenDown("OpenChannels", channels),
      goldenUp("HeldSandbox", HeldSandbox{sampleAssignment(), sampleObservation()}),
      goldenUp("ConfirmDeletionsReply", ConfirmDeletionsReply{9, makeError(ErrorCode::kFailedPrecondition, "another set is held"), 0}),
      goldenDown("HeldRequest", HeldRequest{{SandboxId::trusted(kId)}}),
      goldenDown("ConfirmDeletions", ConfirmDeletions{9, "00112233445566778899aabbccddeeff"}),
      goldenDown("RejectDeletions", RejectDeletions{9, "00112233445566778899aabbccddeeff"}),
      golden("Assignment", sampleAssignment(), decodeAssignment),
      golden("Assignment.known", assignmentWithMemory(), decodeAssignment),
      golden("Assignment.whole", wholeAssignment(), decodeAssignment),
      golden("RestartPolicy", wholeAssignment(), decodeAssignment),
      golden("SandboxSpec", sampleAssignment(), decodeAssignment),
      golden("BlueprintRef", sampleAssignment(), decodeAssignment),
      golden("Resources", sampleAssignment(), decodeAssignment),
      golden("KeyValue", sampleAssignment(), decodeAssignment),
      golden("Observation", sampleObservation(), decodeObservation),
      golden("ExitInfo", sampleObservation(), decodeObservation),
      golden("Timestamp", sampleObservation(), decodeObservation),
      golden("HostFacts", sampleFacts(), decodeHostFacts),
      golden("RuntimeHealth", sampleFacts(), decodeHostFacts),
      golden("HostCondition", sampleFacts(), decodeHostFacts),
      golden("EnrollRequest", enroll, decodeEnrollRequest),
      golden("EnrollResponse", enrolled, decodeEnrollResponse),
      golden("RenewRequest", RenewRequest{"csr"}, decodeRenewRequest),
      golden("RenewResponse", RenewResponse{"cert", "ca"}, decodeRenewResponse),
      golden("SessionOpen", open, decodeSessionOpen),
      golden("LogsSession", logs, decodeSessionOpen),
      golden("LogsFrame", LogsFrame(makeError(ErrorCode::kNotFound, "no such sandbox")), decodeLogsFrame),
      golden("LogsEnd", LogsFrame(LogsEnd{}), decodeLogsFrame),
      golden("LogsBatch", logBatch, decodeLogsFrame),
      golden("LogsRecord", logBatch, decodeLogsFrame),
      golden("ExecSession", open, decodeSessionOpen),
      golden("TerminalSize", terminal, decodeSessionOpen),
      golden("FilesSession", files, decodeSessionOpen),
      golden("SessionPolicy", kept, decodeSessionOpen),
      golden("AttachSession", attach, decodeSessionOpen),
      golden("ListSessions", list, decodeSessionOpen),
      golden("EndSession", end, decodeSessionOpen),
      golden("SessionsReply", sessions, decodeSessionsReply),
      golden("SessionInfo", sessions, decodeSessionsReply),
      {"Status", encodeStatus(status), [](std::string_view bytes) -> Result<std::string> {
         GS_TRY(const auto read, decodeStatus(bytes));
         return encodeStatus(read);
       }},
  };
}

fs::path goldenPath(const std::string& name) {
  return fs::path(GS_SOURCE_DIR) / "tests" / "golden" / "agent" / (name + ".bin");
}

std::string readFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(AgentContractGolden, GoldenBytesAreWrittenAndReadTheSame) {
  for (const auto& item : allCases()) {
    const fs::path path = goldenPath(item.name);
    if (!fs::exists(path) && std::getenv("GSTACKS_WRITE_GOLDEN") != nullptr) {
      std::ofstream(path, std::ios::binary) << item.bytes;
    }
    ASSERT_TRUE(fs::exists(path)) << "no golden file for " << item.name;
    const std::string stored = readFile(path);
    EXPECT_EQ(toHex(item.bytes), toHex(stored)) << item.name << " is written in another way than before";
    const auto again = item.again(stored);
    ASSERT_TRUE(again) << item.name << ": " << again.error().describe();
    EXPECT_EQ(toHex(*again), toHex(stored)) << item.name << " loses something when it is read";
  }
}

TEST(AgentContractGolden, EveryMessageOfTheProtoFilesHasAGolden) {
  std::vector<std::string> covered;
  for (const auto& item : allCases()) covered.push_back(item.name);
  std::size_t messages = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(GS_SOURCE_DIR) / "proto/globalstacks/agent/v1")) {
    const std::string text = readFile(entry.path());
    const std::regex declaration(R"(\nmessage (\w+))");
    for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it) {
      ++messages;
      EXPECT_NE(std::ranges::find(covered, (*it)[1].str()), covered.end()) << (*it)[1] << " has no golden file";
    }
  }
  EXPECT_GT(messages, 30U);
}

TEST(AgentContractGolden, TruncatedMessagesAreRefusedOrHarmless) {
  for (const auto& item : allCases()) {
    for (std::size_t size = 0; size < item.bytes.size(); ++size) {
      // Must not crash; protobuf may accept a prefix that ends between fields.
      [[maybe_unused]] const auto result = item.again(std::string_view(item.bytes).substr(0, size));
    }
  }
}

TEST(AgentContractGolden, ChecksWhatProtobufCannot) {
  Assignment bad = sampleAssignment();
  bad.generation = 0;
  EXPECT_EQ(decodeAssignment(encode(bad)).error().message, "field 'generation' must be at least 1");
  bad = sampleAssignment();
  bad.sandboxId = SandboxId::trusted("../../etc");
  EXPECT_FALSE(decodeAssignment(encode(bad)));
  bad = sampleAssignment();
  bad.stopGrace = Millis(600'001);
  EXPECT_FALSE(decodeAssignment(encode(bad)));
  bad = assignmentWithMemory();
  bad.known->sandboxId = SandboxId::trusted("sbx_00000000000000000001");
  EXPECT_FALSE(decodeAssignment(encode(bad)));
  HostFacts facts = sampleFacts();
  facts.architecture = "mips";
  EXPECT_FALSE(decodeHostFacts(encode(facts)));
  facts = sampleFacts();
  facts.traits.assign(65, "x");
  EXPECT_FALSE(decodeHostFacts(encode(facts)));
  EXPECT_FALSE(decodeSessionOpen(""));
}

TEST(AssignmentsDigest, DoesNotDependOnOrder) {
  const AssignmentVersion a{SandboxId::trusted("sbx_00000000000000000000"), 1};
  const AssignmentVersion b{SandboxId::trusted("sbx_00000000000000000001"), 2};
  EXPECT_EQ(assignmentsDigest({a, b}), assignmentsDigest({b, a}));
  EXPECT_NE(assignmentsDigest({a, b}), assignmentsDigest({a}));
  EXPECT_EQ(assignmentsDigest({}).size(), 32U);
}

TEST(SessionFrames, RefuseTypesOfTheOtherSideAndOversize) {
  EXPECT_TRUE(parseSessionFrame(std::string("\x01hi"), SessionSide::kFromClient));
  EXPECT_FALSE(parseSessionFrame(std::string("\x01hi"), SessionSide::kToClient));
  EXPECT_TRUE(parseSessionFrame(std::string("\x06"), SessionSide::kFromClient));
  EXPECT_FALSE(parseSessionFrame(std::string("\x07"), SessionSide::kFromClient));
  EXPECT_TRUE(parseSessionFrame(std::string("\x16"), SessionSide::kToClient));
  EXPECT_FALSE(parseSessionFrame(std::string("\x17"), SessionSide::kToClient));
  EXPECT_FALSE(parseSessionFrame("", SessionSide::kToClient));
  const auto largest = makeSessionFrame(SessionFrameType::kStdout, std::string(kMaxSessionPayload, 'x'));
  EXPECT_EQ(parseSessionFrame(largest, SessionSide::kToClient)->payload.size(), kMaxSessionPayload);
  EXPECT_FALSE(parseSessionFrame(largest + "x", SessionSide::kToClient));
}

TEST(SessionFrames, ReadTerminalSizesStrictly) {
  EXPECT_EQ(parseTerminalSize(terminalSizeJson({24, 80})).value(), (TerminalSize{24, 80}));
  EXPECT_EQ(parseTerminalSize(R"({"rows":1,"columns":10000})").value(), (TerminalSize{1, 10'000}));
  for (const char* bad : {"{}", "[]", R"({"rows":24})", R"({"rows":0,"columns":80})", R"({"rows":24,"columns":10001})",
                          R"({"rows":24,"columns":-1})", R"({"rows":24,"columns":80.5})", R"({"rows":"24","columns":80})",
                          R"({"rows":24,"columns":80,"x":1})"}) {
    const auto size = parseTerminalSize(bad);
    ASSERT_FALSE(size) << bad;
    EXPECT_NE(size.error().reason, "not_json") << bad;
  }
  EXPECT_EQ(parseTerminalSize("rows").error().reason, "not_json");
}

TEST(SessionFrames, ReadOffsetsAndDeparturesStrictly) {
  EXPECT_EQ(parseSessionOffset(sessionOffsetJson(0)).value(), 0U);
  EXPECT_EQ(parseSessionOffset(R"({"offset":9007199254740991})").value(), 9'007'199'254'740'991U);
  for (const char* bad : {"{}", "7", R"({"offset":-1})", R"({"offset":9007199254740992})", R"({"offset":1.5})",
                          R"({"offset":"1"})", R"({"offset":1,"x":1})"}) {
    const auto offset = parseSessionOffset(bad);
    ASSERT_FALSE(offset) << bad;
    EXPECT_NE(offset.error().reason, "not_json") << bad;
  }
  EXPECT_EQ(parseSessionOffset("offset").error().reason, "not_json");
  EXPECT_EQ(parseSessionDeparture(sessionDepartureJson(SessionDeparture::kDetach)).value(), SessionDeparture::kDetach);
  EXPECT_EQ(parseSessionDeparture(R"({"how":"hang_up"})").value(), SessionDeparture::kHangUp);
  for (const char* bad : {"{}", "[]", R"({"how":"slowly"})", R"({"how":1})", R"({"how":"detach","x":1})"}) {
    EXPECT_FALSE(parseSessionDeparture(bad)) << bad;
  }
  EXPECT_EQ(parseSessionDeparture("").error().reason, "not_json");
}

}  // namespace
}  // namespace gs

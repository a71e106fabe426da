// Every message of the agent contract as a plain value, with its encoding to and from protobuf bytes.
//
// decode… checks what protobuf cannot: ids and digests are of the right form, enumerations are set, counts and lengths
// are within the contract's limits. A message that fails is kInvalidArgument naming the field; nothing half-decoded
// leaves. Both ends are served by these functions, so neither sees a .pb.h. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/secret.h"
#include "wire/host_types.h"
#include "wire/sandbox_types.h"
#include "wire/terminal_size.h"

namespace gs {

inline constexpr std::uint32_t kAgentProtocol = 1;

// What an agent can do beyond the first release of this protocol, as Hello::features names it.
inline constexpr std::string_view kFeatureReprovision = "reprovision";
inline constexpr std::string_view kFeatureArchive = "archive";
inline constexpr std::string_view kFeatureLogs = "logs";
inline constexpr std::string_view kFeatureDeletionRejection = "deletion_rejection";
inline constexpr std::string_view kFeatureReattach = "reattach";
inline constexpr std::size_t kMaxLinkFrameBytes = 256 * 1024;

struct Hello {
  std::uint32_t protocol = kAgentProtocol;
  std::vector<std::string> features;
  HostFacts facts;
  HostTelemetry telemetry;
  std::string assignmentsDigest;  // raw 32 bytes
  std::uint64_t lastEpoch = 0;
  friend bool operator==(const Hello&, const Hello&) = default;
};
struct Heartbeat {
  std::uint64_t sequence = 0;
  HostTelemetry telemetry;
  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};
struct Inventory {
  std::vector<AssignmentVersion> assignments;
  friend bool operator==(const Inventory&, const Inventory&) = default;
};
struct AssignmentAck {
  SandboxId sandboxId;
  std::uint64_t generation = 0;
  std::optional<Error> refusal;
};
struct BlobCredentialRequest {
  std::uint64_t requestId = 0;
  Digest manifest;
};
struct FactsChanged {
  HostFacts facts;
};
struct HeldSandbox {
  Assignment assignment;
  std::optional<Observation> observation;
  friend bool operator==(const HeldSandbox&, const HeldSandbox&) = default;
};
struct ConfirmDeletionsReply {
  std::uint64_t requestId = 0;
  std::optional<Error> error;
  std::uint32_t released = 0;
};

struct HelloAck {
  std::uint64_t epoch = 0;
  Millis heartbeat{3000};
  std::vector<std::string> features;
  WallTime serverTime{};
};
struct HeartbeatAck {
  std::uint64_t sequence = 0;
};
struct InventoryRequest {};
struct ObservationAck {
  SandboxId sandboxId;
  std::uint64_t sequence = 0;
};
struct BlobCredentialReply {
  std::uint64_t requestId = 0;
  std::optional<Error> error;
  SecretString credential;
  WallTime expiresAt{};
  std::string manifest;  // canonical JSON
};
struct OpenChannels {
  std::vector<SecretString> tickets;
};
struct HeldRequest {
  std::vector<SandboxId> sandboxIds;
};
struct ConfirmDeletions {
  std::uint64_t requestId = 0;
  std::string fenceId;
};
struct RejectDeletions {
  std::uint64_t requestId = 0;  // answered as ConfirmDeletions
  std::string fenceId;
};

struct AgentMessage {
  std::uint64_t epoch = 0;
  std::variant<std::monostate, Hello, Heartbeat, Inventory, AssignmentAck, Observation, BlobCredentialRequest,
               FactsChanged, HeldSandbox, ConfirmDeletionsReply>
      body;  // monostate: a case this version does not know; ignore it
};
struct ServerMessage {
  std::uint64_t epoch = 0;
  std::variant<std::monostate, HelloAck, HeartbeatAck, InventoryRequest, Assignment, ObservationAck,
               BlobCredentialReply, OpenChannels, HeldRequest, ConfirmDeletions, RejectDeletions>
      body;
};

struct EnrollRequest {
  SecretString token;
  std::string csrPem;
  std::string hostName;
  HostFacts facts;
};
struct EnrollResponse {
  HostId hostId;
  ClusterId clusterId;
  std::string hostName;
  std::string certificatePem;
  std::string caPem;
};
struct RenewRequest {
  std::string csrPem;
};
struct RenewResponse {
  std::string certificatePem;
  std::string caPem;
};

struct SessionPolicy {
  std::string owner;   // opaque
  std::string client;  // what the client calls itself
  enum class Lifetime : std::uint8_t { kChannel, kGrace, kDetached } lifetime = Lifetime::kChannel;
  Millis grace{0};
  friend bool operator==(const SessionPolicy&, const SessionPolicy&) = default;
};
struct ExecSession {
  std::vector<std::string> argv;  // empty, with a terminal: the user's login shell
  std::vector<std::string> env;  // NAME=value
  std::string workingDir;
  std::string user;
  std::optional<TerminalSize> terminal{};
  std::optional<SessionPolicy> policy{};
  friend bool operator==(const ExecSession&, const ExecSession&) = default;
};
// One file operation; its frames are those of wire/file_frames.h.
struct FilesSession {};
// See LogsSession in session.proto.
enum class LogsFollow : std::uint8_t { kNo, kYes };
struct LogsSession {
  std::optional<std::int64_t> sinceMs{};
  std::optional<std::uint64_t> tailLines{};
  LogsFollow follow = LogsFollow::kNo;
  std::string afterRun{};  // empty: from the beginning
  std::uint64_t afterOffset = 0;
  friend bool operator==(const LogsSession&, const LogsSession&) = default;
};
struct AttachSession {
  std::string owner;
  enum class Reach : std::uint8_t { kOwn, kAll } reach = Reach::kOwn;  // all: the owner is not compared
  std::string client;
  enum class Mode : std::uint8_t { kWrite, kTakeOver, kView } mode = Mode::kWrite;
  std::optional<std::uint64_t> outputOffset;
  friend bool operator==(const AttachSession&, const AttachSession&) = default;
};
struct ListSessions {
  friend bool operator==(const ListSessions&, const ListSessions&) = default;
};
struct EndSession {
  std::string owner;
  AttachSession::Reach reach = AttachSession::Reach::kOwn;
  friend bool operator==(const EndSession&, const EndSession&) = default;
};
struct SessionOpen {
  SessionId sessionId;
  SandboxId sandboxId;
  std::variant<ExecSession, AttachSession, ListSessions, EndSession, FilesSession, LogsSession> kind;
};

inline constexpr std::size_t kLogsRunBytes = 16;
enum class LogsStream : std::uint8_t { kStdout, kStderr };
struct LogsRecord {
  LogsStream stream = LogsStream::kStdout;
  std::int64_t timeMs = 0;
  std::string data;
  std::uint64_t lostBytes = 0;
  std::string run;
  std::uint64_t offset = 0;
  friend bool operator==(const LogsRecord&, const LogsRecord&) = default;
};
struct LogsBatch {
  std::vector<LogsRecord> records;
};
struct LogsEnd {};
using LogsFrame = std::variant<std::monostate, LogsBatch, LogsEnd, Error>;  // monostate: not known; ignore it
[[nodiscard]] std::string encode(const LogsFrame& frame);
[[nodiscard]] Result<LogsFrame> decodeLogsFrame(std::string_view bytes);

struct SessionInfo {
  SessionId sessionId;
  std::string owner;
  std::string program;
  std::optional<TerminalSize> terminal;
  SessionPolicy::Lifetime lifetime = SessionPolicy::Lifetime::kChannel;
  enum class State : std::uint8_t { kAttached, kWaiting, kDetached, kEnded } state = State::kAttached;
  std::uint32_t viewers = 0;
  std::uint64_t outputBytes = 0;
  int exitCode = 0;    // of an ended one
  int exitSignal = 0;
  Millis age{0};
  friend bool operator==(const SessionInfo&, const SessionInfo&) = default;
};
// The answer to ListSessions and EndSession.
struct SessionsReply {
  std::optional<Error> error;
  std::vector<SessionInfo> sessions;  // at most kMostSessionsInReply
  enum class Rest : std::uint8_t { kNone, kFollows } rest = Rest::kNone;
};
inline constexpr std::size_t kMostSessionsInReply = 150;

[[nodiscard]] std::string encode(const AgentMessage& message);
[[nodiscard]] std::string encode(const ServerMessage& message);
[[nodiscard]] std::string encode(const EnrollRequest& message);
[[nodiscard]] std::string encode(const EnrollResponse& message);
[[nodiscard]] std::string encode(const RenewRequest& message);
[[nodiscard]] std::string encode(const RenewResponse& message);
[[nodiscard]] std::string encode(const SessionOpen& message);
[[nodiscard]] std::string encode(const SessionsReply& message);
[[nodiscard]] std::string encodeStatus(const Error& error);
// The journal's form of an assignment and an observation.
[[nodiscard]] std::string encode(const Assignment& message);
[[nodiscard]] std::string encode(const Observation& message);
[[nodiscard]] std::string encode(const HostFacts& message);

[[nodiscard]] Result<AgentMessage> decodeAgentMessage(std::string_view bytes);
[[nodiscard]] Result<ServerMessage> decodeServerMessage(std::string_view bytes);
[[nodiscard]] Result<EnrollRequest> decodeEnrollRequest(std::string_view bytes);
[[nodiscard]] Result<EnrollResponse> decodeEnrollResponse(std::string_view bytes);
[[nodiscard]] Result<RenewRequest> decodeRenewRequest(std::string_view bytes);
[[nodiscard]] Result<RenewResponse> decodeRenewResponse(std::string_view bytes);
[[nodiscard]] Result<SessionOpen> decodeSessionOpen(std::string_view bytes);
[[nodiscard]] Result<SessionsReply> decodeSessionsReply(std::string_view bytes);
[[nodiscard]] Result<Error> decodeStatus(std::string_view bytes);
[[nodiscard]] Result<Assignment> decodeAssignment(std::string_view bytes);
[[nodiscard]] Result<Observation> decodeObservation(std::string_view bytes);
[[nodiscard]] Result<HostFacts> decodeHostFacts(std::string_view bytes);

}  // namespace gs

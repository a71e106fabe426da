// The guest protocol's messages as plain values, with their encoding: the only place of the agent that sees the protobuf.
//
// decode… takes what a hostile guest sent: it bounds and cleans every text and number. A case that this version does not
// know is std::monostate, to be ignored. encode… gives a payload without its length (wire/guest_frames.h adds that) and
// refuses what the guest would. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "agent/guest_channel/guest_types.h"
#include "base/clock.h"
#include "base/result.h"

namespace gs {

inline constexpr std::size_t kExecKeyBytes = 16;
inline constexpr std::size_t kMostListedSessions = 150;  // in one answer

struct GuestHello {
  std::uint32_t protocol = 0;
  std::string version;
  bool gateOpen = false;
  WorkloadState workload;
  bool servesFiles = false;
  std::string outputRun{};
  std::uint64_t outputEnd = 0;
  bool keepsSessions = false;
  friend bool operator==(const GuestHello&, const GuestHello&) = default;
};
struct GateOpened {
  WorkloadState workload;
  friend bool operator==(const GateOpened&, const GateOpened&) = default;
};
struct WorkloadExited {
  ProcessExit exit;
  bool sandboxStopping = false;
  std::uint64_t outputEnd = 0;
  friend bool operator==(const WorkloadExited&, const WorkloadExited&) = default;
};
struct ExecFailed {
  std::uint64_t execId = 0;
  Error error;  // kFailedPrecondition, kResourceExhausted, kNotFound, kAlreadyExists (session_in_use) or kInternal
};
struct Pong {
  std::uint64_t nonce = 0;
};
struct ExecAttach {
  std::uint64_t execId = 0;
  std::string key;  // exactly kExecKeyBytes
};
struct OutputRecords {
  std::vector<OutputRecord> records;  // at least one; offsets grow, and nothing is missing between them
};
struct SessionList {
  std::uint64_t nonce = 0;
  std::vector<SessionSummary> sessions;  // at most kMostListedSessions
};
struct SessionEnding {
  std::uint64_t nonce = 0;
  bool found = false;
};
using GuestFrame = std::variant<std::monostate, GuestHello, GateOpened, WorkloadExited, ExecFailed, Pong, ExecAttach,
                                OutputRecords, SessionList, SessionEnding>;

struct ExecStarted {
  int pid = 0;
};
using ExecFrame = std::variant<std::monostate, ExecStarted, SessionStart, ExecStdout, ExecStderr, TerminalSize, ExecInputAck,
                               SessionCut, ProcessExit>;

// kDataLoss: no such message, or a value outside of what the contract allows.
[[nodiscard]] Result<GuestFrame> decodeGuestFrame(std::string_view payload);
[[nodiscard]] Result<ExecFrame> decodeExecFrame(std::string_view payload);

// kInvalidArgument: over a limit, or not UTF-8.
[[nodiscard]] Result<std::string> encodeOpenGate(const GateSpec& spec);
[[nodiscard]] Result<std::string> encodeStartExec(std::uint64_t execId, std::string_view key, const ProcessSpec& spec);
[[nodiscard]] std::string encodeStartFiles(std::uint64_t id, std::string_view key);
[[nodiscard]] Result<std::string> encodeAttachSession(std::uint64_t execId, std::string_view key, const AttachSpec& spec);
[[nodiscard]] std::string encodeListSessions(std::uint64_t nonce, std::string_view after);
[[nodiscard]] Result<std::string> encodeEndSession(std::uint64_t nonce, std::string_view id, const SessionClaim& claim);
[[nodiscard]] std::string encodeStopWorkload(Millis grace);
[[nodiscard]] std::string encodePing(std::uint64_t nonce);
[[nodiscard]] std::string encodeReadOutput(std::uint64_t offset);
[[nodiscard]] std::string encodeExecStdin(std::string_view data);  // at most kMaxGuestDataBytes
[[nodiscard]] std::string encodeExecStdinEof();
[[nodiscard]] std::string encodeExecSignal(int number);
[[nodiscard]] std::string encodeExecResize(TerminalSize size);
[[nodiscard]] std::string encodeExecOutputAck(std::uint64_t offset);
[[nodiscard]] std::string encodeExecLeave(SessionLeave how);

}  // namespace gs

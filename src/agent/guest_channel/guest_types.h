// What the agent and a sandbox's guest say to each other, as plain values. Mirrors proto/globalstacks/guest/v1/
// guest.proto, which says what each field means; users of the channel see nothing else of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "wire/terminal_size.h"

namespace gs {

inline constexpr std::uint32_t kGuestProtocol = 1;
inline constexpr int kExitCannotRun = 126;
inline constexpr int kExitNotFound = 127;

// Whose an exec is, and what becomes of it without a connection (SessionSpec of the protocol).
enum class SessionLifetime : std::uint8_t { kConnection, kGrace, kDetached };
struct SessionSpec {
  std::string id;      // 1..64 bytes
  std::string owner;   // opaque, at most 64 bytes, as the next
  std::string client;
  SessionLifetime lifetime = SessionLifetime::kConnection;
  std::chrono::milliseconds grace{0};
  friend bool operator==(const SessionSpec&, const SessionSpec&) = default;
};

// Who wants to see or end a session.
struct SessionClaim {
  std::string owner;
  enum class Reach : std::uint8_t { kOwn, kAll } reach = Reach::kOwn;  // all: the owner is not compared
  friend bool operator==(const SessionClaim&, const SessionClaim&) = default;
};
struct AttachSpec {
  std::string id;
  SessionClaim claim;
  std::string client;
  enum class Mode : std::uint8_t { kWrite, kTakeOver, kView } mode = Mode::kWrite;
  std::optional<std::uint64_t> outputOffset;
};

// How a process is started inside the sandbox. Limits: 1..4,096 arguments of 48 KiB in all, 1,024 variables.
struct ProcessSpec {
  std::vector<std::string> argv;  // empty, with a terminal: the user's login shell
  std::vector<std::string> env;  // NAME=value, over GateSpec::env
  std::string workingDir;        // absolute; empty: the image's
  std::string user;              // "name", "uid", "name:group", "uid:gid"; empty: root
  std::optional<TerminalSize> terminal{};  // execs only
  std::optional<SessionSpec> session{};    // execs only
  friend bool operator==(const ProcessSpec&, const ProcessSpec&) = default;
};

struct GateSpec {
  std::optional<ProcessSpec> workload;  // none: the sandbox idles and only execs run
  std::vector<std::string> env;         // NAME=value, for every process
  std::string sandboxId;
  friend bool operator==(const GateSpec&, const GateSpec&) = default;
};

// How a process ended, in the guest's words: a claim of the sandbox, checked for range only.
struct ProcessExit {
  int code = 0;            // 0..255; meaningful when signal is 0
  int signal = 0;          // 1..64, or 0
  std::string startError;  // printable, at most 1 KiB; set when it could not be started, code is 126 or 127 then
  friend bool operator==(const ProcessExit&, const ProcessExit&) = default;
};

struct WorkloadState {
  enum class Phase : std::uint8_t {
    kNone,     // the gate is closed, or no workload was asked for
    kRunning,
    kExited,   // also when it could not be started
  };
  Phase phase = Phase::kNone;
  int pid = 0;  // inside the sandbox; 0 unless running
  ProcessExit exit;
  bool endedWithSandbox = false;  // kExited because the guest was told to end: not an end of the workload's own
  friend bool operator==(const WorkloadState&, const WorkloadState&) = default;
};

// What is known of the guest at this moment. A level, not an event: a slow watcher misses steps, never the present.
struct GuestState {
  std::uint64_t revision = 0;  // grows with every change
  bool connected = false;      // the control connection is up; the rest is the last word when it is not
  bool gateOpen = false;
  WorkloadState workload;
  std::string version;  // of the guest binary, printable
  bool servesFiles = false;    // it understands startFiles()
  std::string outputRun;         // kOutputRunBytes; empty: it keeps no output
  std::uint64_t outputEnd = 0;   // of the workload's output, when it connected or when the workload ended
  bool keepsSessions = false;  // an older one does not
};

inline constexpr std::size_t kOutputRunBytes = 16;

// What the workload wrote, in the guest's words.
enum class OutputStream : std::uint8_t { kStdout, kStderr };
struct OutputRecord {
  std::uint64_t offset = 0;
  OutputStream stream = OutputStream::kStdout;
  std::int64_t readAtMs = 0;  // not before 1970, not in the future
  std::string data;           // 1 byte to 16 KiB
  friend bool operator==(const OutputRecord&, const OutputRecord&) = default;
};
struct OutputChunk {
  std::string run;
  std::vector<OutputRecord> records;
};

// What a running exec gives. Exit is the last. With a terminal there is no stderr.
struct ExecStdout {
  std::string data;
};
struct ExecStderr {
  std::string data;
};
// So many bytes of stdin are with the guest. Sessions only; told now and then.
struct ExecInputAck {
  std::uint64_t offset = 0;
};
// The connection is ended, the session goes on. The last, as an exit is.
enum class SessionCut : std::uint8_t { kTakenOver, kTooSlow };
using ExecEvent = std::variant<ExecStdout, ExecStderr, TerminalSize, ExecInputAck, SessionCut, ProcessExit>;

// Where a connection to a session begins.
struct SessionStart {
  std::uint64_t outputOffset = 0;  // of the first byte that next() gives
  std::uint64_t inputOffset = 0;   // of the first byte that write() is to give
  std::optional<TerminalSize> terminal;
};
enum class SessionLeave : std::uint8_t { kHangUp, kDetach };

// What the guest says of a session: claims of the sandbox, bounded and cleaned.
struct SessionSummary {
  std::string id;
  std::string owner;
  std::string program;  // printable; empty: the login shell
  std::optional<TerminalSize> terminal;
  SessionLifetime lifetime = SessionLifetime::kConnection;
  enum class State : std::uint8_t { kAttached, kWaiting, kDetached, kEnded } state = State::kAttached;
  std::uint32_t viewers = 0;
  std::uint64_t outputBytes = 0;
  ProcessExit exit;  // of an ended one
  std::chrono::milliseconds age{0};
  friend bool operator==(const SessionSummary&, const SessionSummary&) = default;
};

}  // namespace gs

// What the agent and a sandbox's guest say to each other, as plain values. Mirrors proto/globalstacks/guest/v1/
// guest.proto, which says what each field means; users of the channel see nothing else of it.
#pragma once

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

// How a process is started inside the sandbox. Limits: 1..4,096 arguments of 48 KiB in all, 1,024 variables.
struct ProcessSpec {
  std::vector<std::string> argv;  // empty, with a terminal: the user's login shell
  std::vector<std::string> env;  // NAME=value, over GateSpec::env
  std::string workingDir;        // absolute; empty: the image's
  std::string user;              // "name", "uid", "name:group", "uid:gid"; empty: root
  std::optional<TerminalSize> terminal{};  // execs only
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
using ExecEvent = std::variant<ExecStdout, ExecStderr, TerminalSize, ProcessExit>;

}  // namespace gs

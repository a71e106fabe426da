// The agent's end of the conversation with the first process of one sandbox.
//
// It listens on a unix socket that only that sandbox can see, accepts the guest's control connection and one connection
// per exec, and turns them into calls. It does not know what a container is: who starts the sandbox tells it the pid of
// its first process, and a connection from any other process is dropped.
// The guest is hostile: frames, strings, time, and connections are bounded, no claim is believed that can be checked, and
// a guest that misbehaves loses its connection and nothing else happens.
// Lifetime: close() and wait for it before destruction. Execs own their connections and may outlive the channel.
// Threads: loop thread only. Restart: nothing on disk; the guest dials the same path again and its hello says what runs.
// Limits: 32 connections that have not identified themselves, 5 s for each to do so, 64 KiB frames, strings cut at 1 KiB.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/guest_channel/guest_types.h"
#include "async/deadline.h"
#include "async/task.h"

namespace gs {

// One process beside the workload. Reading is for one task at a time; writes are serialised inside, so that stdin and
// signals may come from different tasks. Destroying it is close().
class GuestExec {
 public:
  virtual ~GuestExec() = default;
  // Inside the sandbox; 0 when the process could not be started, then next() gives the exit at once, and for sessions.
  [[nodiscard]] virtual int pid() const = 0;
  // Of a session that outlives its connection (SessionSpec), by a guest that can keep one; nothing: it ends with close().
  [[nodiscard]] virtual const std::optional<SessionStart>& session() const = 0;
  // What comes next: output in order within each stream, then the exit, after which calls are kFailedPrecondition.
  // kUnavailable when the sandbox or its guest went away, kDataLoss when the guest broke the protocol; no exit is known
  // then. Not reading stops the process once the buffers are full (a few hundred KiB), and nothing else.
  [[nodiscard]] virtual Task<Result<ExecEvent>> next() = 0;
  // All of it, however large. Returns when it is in the socket, so a process that does not read makes it wait. Ignored by
  // a process that has closed its stdin. After writeEof(): kFailedPrecondition. kUnavailable: the process has ended or
  // the guest is gone; next() tells which, and what came before it.
  [[nodiscard]] virtual Task<Status> write(std::string data) = 0;
  // Repeat is harmless.
  [[nodiscard]] virtual Task<Status> writeEof() = 0;
  // To the process group; waits behind stdin that has not been read. A number outside 1..64 is kInvalidArgument.
  [[nodiscard]] virtual Task<Status> signal(int number) = 0;
  // Of its terminal; next() tells when it has that size. Without a terminal: kFailedPrecondition; outside 1..10,000:
  // kInvalidArgument. Waits behind stdin that has not been read.
  [[nodiscard]] virtual Task<Status> resize(TerminalSize size) = 0;
  // All output before this offset has arrived where it is going; the guest may drop it. One that was never sent breaks the
  // connection. Sessions only, as the next.
  [[nodiscard]] virtual Task<Status> ack(std::uint64_t offset) = 0;
  // Before close(): nobody comes back. Both wait behind stdin that has not been read.
  [[nodiscard]] virtual Task<Status> leave(SessionLeave how) = 0;
  // Drops the connection: a process still running gets SIGHUP, then SIGKILL after two seconds; a session that outlives its
  // connection goes on (SessionSpec). Repeat is harmless.
  virtual void close() = 0;
};

class GuestConnection;

class GuestChannel {
 public:
  virtual ~GuestChannel() = default;

  // The host's pid of the sandbox's first process. Until it is set, connections are held; then those of others are
  // dropped, live ones too. Nothing: unknown again (the sandbox was stopped, or is being started anew).
  virtual void setExpectedPid(std::optional<pid_t> pid) = 0;

  [[nodiscard]] virtual const GuestState& state() const = 0;
  // Waits until the state's revision differs from `seen`, and returns it. The deadline passed, or the channel closed: the
  // state as it is.
  [[nodiscard]] virtual Task<GuestState> waitChange(std::uint64_t seen, Deadline deadline) = 0;
  // kDeadlineExceeded when no guest connected in time; kCancelled when closed meanwhile. At once when connected.
  [[nodiscard]] virtual Task<Status> waitConnected(Deadline deadline) = 0;

  // Lets the sandbox run: the workload (if any) is started, execs are allowed from now on. Waits for the guest to
  // connect. Repeat, or already open: changes nothing, whatever the spec says, and gives the present workload. A workload
  // that could not be started is not an error here: its state says so. A connection lost midway is waited for again.
  // kInvalidArgument: the spec breaks a limit; kDeadlineExceeded; kCancelled when closed.
  [[nodiscard]] virtual Task<Result<WorkloadState>> openGate(GateSpec spec, Deadline deadline) = 0;

  // Starts a process beside the workload; waits for the guest to connect. Each call is another process. A program, user
  // or directory that does not exist is not an error here: the exec's exit says so (code 126 or 127 and a sentence).
  // kInvalidArgument: the spec breaks a limit; kFailedPrecondition: the gate is closed; kResourceExhausted: too many
  // execs; kUnavailable: the guest went away; kDeadlineExceeded: it may have run for a moment, and is killed.
  [[nodiscard]] virtual Task<Result<std::unique_ptr<GuestExec>>> startExec(ProcessSpec spec, Deadline deadline) = 0;

  // A connection that carries the frames of one file operation (files.proto), untouched. Waits for the guest to connect.
  // Closing it, or letting it go, ends the operation. kFailedPrecondition: the gate is closed, or the guest is older than
  // file operations (reason files_unsupported); otherwise as startExec.
  [[nodiscard]] virtual Task<Result<std::shared_ptr<GuestConnection>>> startFiles(Deadline deadline) = 0;
  // Another connection to a session. kNotFound: unknown, forgotten, or another owner's; kFailedPrecondition: somebody else
  // writes (session_in_use), or the guest is too old (reattach_unsupported); kResourceExhausted: eight viewers;
  // otherwise as startExec().
  [[nodiscard]] virtual Task<Result<std::unique_ptr<GuestExec>>> attachSession(AttachSpec spec, Deadline deadline) = 0;
  // All of them, by id. kFailedPrecondition: the guest is too old; kUnavailable; kDeadlineExceeded.
  [[nodiscard]] virtual Task<Result<std::vector<SessionSummary>>> listSessions(Deadline deadline) = 0;
  // Hangs it up, or forgets one that has ended. kNotFound: as for attachSession(), also on a repeat; else as listSessions().
  [[nodiscard]] virtual Task<Status> endSession(std::string id, SessionClaim claim, Deadline deadline) = 0;

  // Asks the guest to end the workload: SIGTERM, then SIGKILL after `grace` (at most ten minutes). Returns when asked;
  // waitWorkloadExit() tells the end. Repeat: the shorter grace counts. No workload: no effect. kUnavailable: not
  // connected.
  [[nodiscard]] virtual Task<Status> stopWorkload(Millis grace) = 0;

  // Waits through reconnects. At once when it is over already. kFailedPrecondition: the gate is open and no workload was
  // asked for; kDeadlineExceeded; kCancelled when closed.
  [[nodiscard]] virtual Task<Result<ProcessExit>> waitWorkloadExit(Deadline deadline) = 0;

  // What the workload wrote from this offset on (GuestState::outputRun), as soon as there is any; more than was asked for is
  // forgotten when the first record begins later. One call at a time. kUnavailable: not connected, or lost midway;
  // kFailedPrecondition: this guest keeps none; kDeadlineExceeded: nothing came, ask again; kCancelled when closed.
  [[nodiscard]] virtual Task<Result<OutputChunk>> readOutput(std::uint64_t /*offset*/, Deadline /*deadline*/) {
    co_return fail(ErrorCode::kFailedPrecondition, "this guest keeps no output");
  }

  // Round-trip time through the guest's loop. kUnavailable: not connected, or lost midway; kDeadlineExceeded.
  [[nodiscard]] virtual Task<Result<std::chrono::microseconds>> ping(Deadline deadline) = 0;

  // Stops listening, drops the control connection (which leaves the sandbox as it is) and ends every waiting call with
  // kCancelled. The socket file stays for the next listener. Repeat is harmless.
  [[nodiscard]] virtual Task<void> close() = 0;
};

struct GuestChannelSettings {
  std::string socketPath;
  std::string sandboxId;  // for logs
  Millis handshakeTimeout{5000};
};

// Listens. An old socket at the path is replaced; errors as listenUnix().
[[nodiscard]] Result<std::unique_ptr<GuestChannel>> listenForGuest(Executor executor, GuestChannelSettings settings);

}  // namespace gs

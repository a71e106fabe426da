// One process that the agent asked for, and those who are connected to its streams.
//
// Without a SessionSpec that outlives a connection there is one connection, and memory is bounded by not reading: while
// the agent does not take output the pipes are left full. A session (SessionSpec of the protocol) numbers its output and
// keeps it (replay_buffer.h), so connections come and go: one that writes, up to eight that watch. Only the one that
// writes can make the process wait; without one the grace time runs, or, detached, the newest output is kept.
// Life: start() once; `closed` is called once, from the loop, when nothing is left to do and nobody can come back, and
// the owner may destroy it with EventLoop::later(). A session that has ended stays until the owner has had enough of it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "guest/event_loop.h"
#include "guest/reaper.h"
#include "guest/replay_buffer.h"
#include "guest/session_peer.h"
#include "guest/spawn.h"
#include "guest/terminal.h"

namespace gs::guest {

enum class SessionLifetime : std::uint8_t { kConnection, kGrace, kDetached };

// Whose session it is, and how long it stays without a connection that writes.
struct SessionIdentity {
  std::string id;  // empty: the exec is no session
  std::string owner;
  std::string client;
  SessionLifetime lifetime = SessionLifetime::kConnection;
  Millis grace{0};
};

struct AttachRequest {
  std::string client;
  enum class Mode : std::uint8_t { kWrite, kTakeOver, kView } mode = Mode::kWrite;
  std::optional<std::uint64_t> outputOffset;
};

class ExecSession {
 public:
  enum class State : std::uint8_t { kAttached, kWaiting, kDetached, kEnded };
  enum class AttachVerdict : std::uint8_t { kWelcome, kConflict, kNoSuchOffset, kTooMany };
  struct Owner {
    std::function<void()> ended;   // a session: the process is over, its end is kept
    std::function<void()> closed;
  };

  ExecSession(EventLoop& loop, Reaper& reaper, SessionIdentity identity, Owner owner);
  ~ExecSession();
  ExecSession(const ExecSession&) = delete;
  ExecSession& operator=(const ExecSession&) = delete;

  // Sends the attach frame (whole, with its length), starts the process, and tells the agent what became of it.
  void start(UniqueFd socket, std::string_view attachFrame, const LaunchSpec& spec,
             std::span<const std::string> sharedEnv, const ChildLimits& limits);
  // Whether attach() would be let in now.
  [[nodiscard]] AttachVerdict check(const AttachRequest& request) const;
  // Another connection; what check() says of it is asked again. Sends the attach frame first, as start() does.
  void attach(UniqueFd socket, std::string_view attachFrame, const AttachRequest& request);
  // The sandbox is being stopped: SIGHUP to the process group, nothing else.
  void announceStop() const;
  // SIGHUP now, SIGKILL two seconds later; whoever is connected hears of the end.
  void end();

  [[nodiscard]] const SessionIdentity& identity() const { return identity_; }
  // Whether it can be attached to, or only be listed and ended.
  [[nodiscard]] bool isDurable() const { return identity_.lifetime != SessionLifetime::kConnection; }
  [[nodiscard]] State state() const;
  [[nodiscard]] ExitStatus exit() const { return exit_; }
  [[nodiscard]] const std::string& program() const { return program_; }
  [[nodiscard]] std::optional<TerminalSize> terminalSize() const { return size_; }
  [[nodiscard]] std::size_t viewers() const { return viewers_.size(); }
  [[nodiscard]] std::uint64_t outputBytes() const { return isDurable() ? buffer_.end() : written_; }
  [[nodiscard]] std::chrono::steady_clock::time_point startedAt() const { return startedAt_; }

 private:
  using Frame = globalstacks::guest::v1::ExecFrame;
  using PeerPtr = std::shared_ptr<SessionPeer>;
  enum class Phase : std::uint8_t {
    kRunning,
    kDraining,   // the process has ended; what it wrote is still on its way
    kHungUp,     // SIGKILL follows
    kEnded,      // the exit is known; it waits for those who are connected, or may come
    kClosed,
  };
  struct Output {
    UniqueFd pipe;
    OutputStream stream;
    bool watched = false;
    std::size_t owed = 0;       // bytes that were in the pipe when the process ended
  };

  // exec_session.cc: the process and its pipes.
  [[nodiscard]] std::optional<StartFailure> launch(const LaunchSpec& spec, std::span<const std::string> sharedEnv,
                                                   const ChildLimits& limits);
  void takeStdin(std::string_view data);
  void takeEof();
  void takeSize(TerminalSize size);
  void onStdinWritable();
  // Who a signal of the agent is for.
  [[nodiscard]] pid_t signalGroup() const;
  void onOutput(Output& output);
  void onExit(ExitStatus status);
  void finishIfDrained();
  void finish();
  void hangUp();
  [[nodiscard]] bool mayReadOutput() const;
  void watchOutputs();
  void closeOutput(Output& output);
  void closeStdin();
  void close();

  // session_streams.cc: those who are connected.
  [[nodiscard]] PeerPtr makePeer(UniqueFd socket, SessionPeer::Role role);
  SessionPeer::Verdict onFrame(SessionPeer& peer, const Frame& frame);
  void onEmptied(SessionPeer& peer);
  void onGone(SessionPeer& peer);
  void writerGone();
  void graceOver();
  // Sends what the peer has not got yet, as far as its socket takes it, and the exit after the last byte.
  void serve(SessionPeer& peer);
  void serveAll();
  void tellStart(SessionPeer& peer);
  void tellExit(SessionPeer& peer);
  void tellSize();
  void tellInput();
  // No more of it is read until the process has taken some.
  [[nodiscard]] bool inputWaits() const;
  void cut(SessionPeer& peer, int reason);

  EventLoop& loop_;
  Reaper& reaper_;
  SessionIdentity identity_;
  Owner owner_;
  ReplayBuffer buffer_;
  PeerPtr writer_;
  std::vector<PeerPtr> viewers_;
  std::string program_;
  std::chrono::steady_clock::time_point startedAt_ = std::chrono::steady_clock::now();
  std::uint64_t written_ = 0;     // output of one that keeps none
  std::uint64_t inputTaken_ = 0;
  std::uint64_t inputTold_ = 0;
  bool scrollBack_ = false;       // nobody writes and nobody is waited for: the process never waits
  bool left_ = false;             // the one that writes does not come back
  EventLoop::TimerId graceTimer_ = 0;

  UniqueFd terminal_;                     // our end; stdin_ and outputs_[0] are duplicates of it
  std::optional<TerminalSize> size_;
  std::optional<TerminalSize> newSize_;   // set, and not told to the agent yet
  UniqueFd stdin_;
  bool stdinWatched_ = false;
  bool eofPending_ = false;  // after what is pending
  std::string stdinPending_;
  std::size_t stdinWritten_ = 0;
  std::array<Output, 2> outputs_;
  Phase phase_ = Phase::kRunning;
  pid_t pid_ = 0;  // 0: not started, or reaped
  pid_t group_ = 0;
  pid_t foreground_ = 0;  // the terminal's foreground group when it was hung up
  ExitStatus exit_;
  bool reaped_ = false;
  std::string startError_;
  EventLoop::TimerId timer_ = 0;
  std::chrono::steady_clock::time_point drainEnd_;
};

}  // namespace gs::guest

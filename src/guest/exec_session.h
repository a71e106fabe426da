// One process that the agent asked for, and the connection that carries its streams.
//
// Memory is bounded by not reading: while the agent does not take output the pipes are left full, and while the process
// does not take its input the connection is. At most about 200 KiB in each session that is stuck both ways.
// Life: start() once; `closed` is called once, from the loop, when nothing is left to do, and the owner may destroy it
// with EventLoop::later().
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "guest/agent_socket.h"
#include "guest/event_loop.h"
#include "guest/reaper.h"
#include "guest/spawn.h"
#include "guest/terminal.h"
#include "wire/guest_frames.h"

namespace gs::guest {

class ExecSession {
 public:
  ExecSession(EventLoop& loop, Reaper& reaper, UniqueFd socket, std::function<void()> closed);
  ~ExecSession();
  ExecSession(const ExecSession&) = delete;
  ExecSession& operator=(const ExecSession&) = delete;

  // Sends the attach frame (whole, with its length), starts the process, and tells the agent what became of it.
  void start(std::string_view attachFrame, const LaunchSpec& spec, std::span<const std::string> sharedEnv,
             const ChildLimits& limits);
  // The sandbox is being stopped: SIGHUP to the process group, nothing else.
  void announceStop() const;

 private:
  enum class Phase : std::uint8_t {
    kRunning,
    kDraining,   // the process has ended; what it wrote is still on its way
    kExiting,    // the exit is in the socket or waits for it
    kHungUp,     // the agent went away; SIGKILL follows
    kClosed,
  };
  struct Output {
    UniqueFd pipe;
    char tag;                   // ExecFrame's field, as its first byte on the wire
    bool watched = false;
    std::size_t owed = 0;       // bytes that were in the pipe when the process ended
  };

  void onSocket(std::uint32_t events);
  bool readFrames();
  void takeStdin(std::string_view data);
  void takeEof();
  void takeSize(TerminalSize size);
  void tellSize();
  // Who a signal of the agent is for.
  [[nodiscard]] pid_t signalGroup() const;
  void onStdinWritable();
  void onOutput(Output& output);
  [[nodiscard]] std::optional<StartFailure> launch(const LaunchSpec& spec, std::span<const std::string> sharedEnv,
                                                   const ChildLimits& limits);
  void onExit(ExitStatus status);
  void onDrainTimer();
  void finishIfDrained();
  void sendExit(int code, int signal, const std::string& startError);
  void send(std::string_view bytes);
  void updateWatches();
  void watchOutputs();
  void hangUp();
  void closeOutput(Output& output);
  void closeStdin();
  void close();

  EventLoop& loop_;
  Reaper& reaper_;
  std::function<void()> closed_;
  UniqueFd socket_;
  GuestFrameParser parser_;
  Outgoing outgoing_;
  UniqueFd terminal_;                     // our end; stdin_ and outputs_[0] are duplicates of it
  std::optional<TerminalSize> newSize_;   // set, and not told to the agent yet
  UniqueFd stdin_;
  bool stdinWatched_ = false;
  bool stdinEof_ = false;
  std::string stdinPending_;
  std::size_t stdinWritten_ = 0;
  std::array<Output, 2> outputs_;
  Phase phase_ = Phase::kRunning;
  pid_t pid_ = 0;  // 0: not started, or reaped
  pid_t group_ = 0;
  pid_t foreground_ = 0;  // the terminal's foreground group when the agent went away
  ExitStatus exit_;
  EventLoop::TimerId timer_ = 0;
  std::chrono::steady_clock::time_point drainEnd_;
};

}  // namespace gs::guest

// Every exec of the sandbox: started, attached to, listed, ended, and remembered for a while after its end.
//
// Life: with the sandbox. Limits: 512 execs that run, 64 ended sessions for ten minutes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guest/exec_session.h"

namespace globalstacks::guest::v1 {
class AttachSession;
class EndSession;
class ListSessions;
class SessionInfo;
class StartExec;
}  // namespace globalstacks::guest::v1

namespace gs::guest {

// What is shared by all execs.
struct ExecSettings {
  std::string socketPath;
  ChildLimits childLimits;
};

class ExecTable {
 public:
  // `send` gives a whole frame to the control connection.
  ExecTable(EventLoop& loop, Reaper& reaper, ExecSettings settings, std::function<void(std::string_view)> send);

  // From now on execs run, with these variables.
  void open(std::vector<std::string> sharedEnv);
  // None from now on; SIGHUP to those that run.
  void announceStop();

  void start(const globalstacks::guest::v1::StartExec& request);
  void attach(const globalstacks::guest::v1::AttachSession& request);
  void list(const globalstacks::guest::v1::ListSessions& request);
  void end(const globalstacks::guest::v1::EndSession& request);
  // ExecFailed, to whoever asked for a connection of that id.
  void refuse(std::uint64_t execId, int kind, std::string_view message);

 private:
  enum class Gate : std::uint8_t { kClosed, kOpen, kStopping };
  struct Exec {
    SessionIdentity identity;
    std::unique_ptr<ExecSession> session;  // none while the agent is being dialled
  };
  struct Ended {
    std::uint64_t id;
    EventLoop::TimerId timer;
  };
  using Connected = std::function<void(UniqueFd)>;

  // Calls back with a connection once the agent takes it; otherwise refuses, and `failed` (if any) is called.
  void dial(std::uint64_t execId, Connected connected, std::function<void()> failed, int attempt = 0);
  void begin(std::uint64_t id, UniqueFd socket, const std::string& attachFrame, const LaunchSpec& spec);
  void remember(std::uint64_t id);
  void forget(std::uint64_t id);
  // Nothing: unknown, another owner's, or not begun yet.
  [[nodiscard]] ExecSession* find(const std::string& sessionId, const std::string& owner, bool anyOwner);
  static void describe(const ExecSession& session, globalstacks::guest::v1::SessionInfo& out);

  EventLoop& loop_;
  Reaper& reaper_;
  ExecSettings settings_;
  std::function<void(std::string_view)> send_;
  std::vector<std::string> sharedEnv_;
  Gate gate_ = Gate::kClosed;
  std::map<std::uint64_t, Exec> execs_;
  std::map<std::string, std::uint64_t> sessions_;
  std::deque<Ended> ended_;
};

}  // namespace gs::guest

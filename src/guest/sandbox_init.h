// The first process of a sandbox: what the agent's frames and the kernel's signals make it do.
//
// Nothing runs before the gate is open. After that one workload, and up to 512 execs; all die with this process.
// Life: constructed once; run() returns the exit status of the container when it is to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "guest/control_connection.h"
#include "guest/event_loop.h"
#include "guest/exec_table.h"
#include "guest/file_service.h"
#include "guest/reaper.h"
#include "guest/workload.h"
#include "guest/workload_output.h"

namespace globalstacks::guest::v1 {
class OpenGate;
class StartFiles;
}  // namespace globalstacks::guest::v1

namespace gs::guest {

struct InitSettings {
  std::string socketPath;
  std::string version;
  ChildLimits childLimits;
};

class SandboxInit {
 public:
  explicit SandboxInit(InitSettings settings);

  // Signals must be blocked already. SIGTERM, SIGINT and SIGPWR (what Docker, a terminal and LXC send) stop the workload
  // with ten seconds of grace, and end it.
  int run();

 private:
  std::string makeHello();
  bool onFrame(std::string_view payload);
  void openGate(const globalstacks::guest::v1::OpenGate& request);
  void startFiles(const globalstacks::guest::v1::StartFiles& request);
  void startWorkload(const LaunchSpec& spec, std::span<const std::string> sharedEnv);
  void sendOutput(const std::deque<WorkloadOutput::Record>& records);
  void onWorkloadExited();
  // Ends the loop when the agent has the workload's last words, or after a moment.
  void finish();
  void lookForLastWords(std::chrono::steady_clock::time_point until);
  void onSignals();
  void beginShutdown();

  InitSettings settings_;
  EventLoop loop_;
  Reaper reaper_;
  Workload workload_;
  WorkloadOutput output_;
  ControlConnection control_;
  ExecTable execs_;
  FileService files_;
  UniqueFd signals_;
  bool gateOpen_ = false;
  bool stopping_ = false;
};

}  // namespace gs::guest

// The sandbox's file operations: one process of its own for each, forked from the guest.
//
// So a file system that never answers, or a directory without end, holds up that one operation; and the first process reads
// no foreign path. When the agent closes the connection the worker has two seconds to tidy up, then it is killed.
// Life: as long as the guest. Limits: 32 at once; see file_worker.cc for those of each.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "guest/agent_socket.h"
#include "guest/event_loop.h"
#include "guest/reaper.h"

namespace gs::guest {

class FileService {
 public:
  enum class Refusal : std::uint8_t { kBusy, kInternal };
  // `refuse` tells the agent that the operation does not come about.
  FileService(EventLoop& loop, Reaper& reaper, std::string socketPath, std::optional<int> oomScoreAdj,
              std::function<void(std::uint64_t id, Refusal, std::string_view message)> refuse);

  // A repeat of a live id is ignored.
  void start(std::uint64_t id, std::string attachFrame);

 private:
  struct Operation {
    UniqueFd socket;
    pid_t pid = 0;
    EventLoop::TimerId timer = 0;
  };
  void dial(std::uint64_t id, std::string attachFrame, int attempt);
  void onHangUp(std::uint64_t id);
  void end(std::uint64_t id);

  EventLoop& loop_;
  Reaper& reaper_;
  std::string socketPath_;
  std::optional<int> oomScoreAdj_;
  std::function<void(std::uint64_t, Refusal, std::string_view)> refuse_;
  std::map<std::uint64_t, Operation> operations_;
};

}  // namespace gs::guest

// Dials data channels with the tickets that the server hands out, keeps them as spares, and starts a session on each
// that the server opens.
//
// Loop thread only. At most 64 spares are dialled or waiting at once; running sessions are not counted. A spare ends
// when the server closes it (with the link, at the latest). stop() ends spares and sessions.
#pragma once

#include <functional>

#include "agent/link/control_link.h"

namespace gs {

using SessionRunner = std::function<Task<void>(std::shared_ptr<WebSocket>, SessionOpen)>;

class ChannelDialer {
 public:
  ChannelDialer(Executor executor, SessionRunner runSession)
      : executor_(executor), runSession_(std::move(runSession)), tasks_(executor) {}

  void setIdentity(const HostIdentity& identity);
  void open(std::vector<SecretString> tickets);
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  [[nodiscard]] Task<void> serve(SecretString ticket);

  Executor executor_;
  SessionRunner runSession_;
  std::shared_ptr<HttpClient> client_;
  std::size_t spares_ = 0;
  TaskGroup tasks_;
};

}  // namespace gs

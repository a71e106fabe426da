// Reads the logs of sandboxes from their hosts, for clients that look at them or follow them.
//
// One data channel for each reader; TCP is the flow control, so a client that stops costs its own channel and one frame.
// Loop thread only; store and hub must outlive it. Limits: readers of a tenant. Restart: nothing is kept; positions are
// the clients'.
#pragma once

#include <memory>
#include <unordered_map>

#include "server/gateway/link_hub.h"
#include "server/store/store.h"

namespace gs {

struct SandboxLogsSettings {
  std::size_t maxPerTenant = 128;
  Millis channelTimeout{10'000};
};

class SandboxLogs {
 public:
  // Destroying it closes the channel and gives its place back.
  class Reader {
   public:
    Reader(SandboxLogs& logs, TenantId tenant);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    // What comes next; monostate: nothing until the deadline. An Error is the host's. kUnavailable: the channel broke, and
    // the client may come back for the rest.
    [[nodiscard]] Task<Result<LogsFrame>> next(Deadline deadline);

   private:
    friend class SandboxLogs;
    SandboxLogs& logs_;
    TenantId tenant_;
    std::shared_ptr<WebSocket> channel_;
  };

  SandboxLogs(Store& store, LinkHub& hub, SandboxLogsSettings settings = {}) : store_(store), hub_(hub), settings_(settings) {}

  // kNotFound: no such sandbox. kFailedPrecondition: no_host (it is on none, so there is no log), agent_too_old,
  // host_disconnected. kResourceExhausted (too_many). kUnavailable: no channel came, or the server stops.
  [[nodiscard]] Task<Result<std::unique_ptr<Reader>>> open(Actor actor, SandboxId id, LogsSession wish);
  // From now on nothing is opened, and readers end with kUnavailable at their next look.
  void stop() { stopping_ = true; }

 private:
  Store& store_;
  LinkHub& hub_;
  SandboxLogsSettings settings_;
  std::unordered_map<TenantId, std::size_t> readers_;
  bool stopping_ = false;
};

}  // namespace gs

// Lets clients follow what happens to their sandboxes: everything after a position, in order, as it comes.
//
// A follower keeps a position and nothing else: it reads the log when it is asked for more, so a slow reader costs no
// memory, and one that was away goes on exactly where it was. What was pruned meanwhile is told as a gap. Loop thread
// only; store and wake-up must outlive it, and it must outlive its followers (see stop()). Limits: followers of a tenant
// and in all, events in one batch. Restart: nothing is remembered; positions are the clients'.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "server/sandboxes/sandbox_events.h"
#include "server/store/store.h"

namespace gs {

struct EventFeedSettings {
  std::size_t maxPerTenant = 32;
  std::size_t maxInAll = 512;
  Millis heartbeat{15'000};
  std::int64_t batch = 100;
};

class EventFeed {
 public:
  struct Batch {
    enum class End : std::uint8_t { kNone, kStopping, kGone };
    struct Gap {
      std::int64_t after = 0;  // what the client had
      std::int64_t through = 0;
    };
    std::optional<Gap> gap{};                 // before `items` something is missing that can no longer be told
    std::vector<SandboxEventRecord> items{};  // none, no gap and no end: a heartbeat
    std::int64_t position = 0;              // all up to here was told or does not concern this follower
    End end = End::kNone;
  };

  // One client on its way through the log. Destroying it gives its place back.
  class Follower {
   public:
    Follower(EventFeed& feed, TenantId tenant, std::optional<SandboxId> sandbox, std::function<bool()> gone);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    // Waits for the next events, or for the time of a heartbeat. After an end there is nothing more.
    // Errors of the store as they are; it may be called again.
    [[nodiscard]] Task<Result<Batch>> next();
    [[nodiscard]] std::int64_t position() const { return position_; }

   private:
    friend class EventFeed;
    [[nodiscard]] Task<Result<Batch>> read();
    [[nodiscard]] Task<void> waitForChange(std::uint64_t seen, Deadline deadline);

    EventFeed& feed_;
    TenantId tenant_;
    std::optional<SandboxId> sandbox_;
    std::function<bool()> gone_;
    std::int64_t position_ = 0;
  };

  EventFeed(const Executor& executor, Store& store, SandboxEvents& wakeUp, EventFeedSettings settings = {});

  // From `after` on; none: from now on. `gone` says whether the client has left; it is asked about once a second.
  // kResourceExhausted (too_many): the tenant, or everybody, has as many as are allowed. kUnavailable while the server
  // stops. kNotFound: the sandbox, as Store::listSandboxEvents.
  [[nodiscard]] Task<Result<std::unique_ptr<Follower>>> follow(TenantId tenant, std::optional<SandboxId> sandbox,
                                                               std::optional<std::int64_t> after,
                                                               std::function<bool()> gone);
  // From now on followers end with kStopping. Waits until all are destroyed, or until the deadline.
  [[nodiscard]] Task<void> stop(Deadline deadline);

 private:
  [[nodiscard]] Status checkPlace(const TenantId& tenant) const;

  Store& store_;
  SandboxEvents& wakeUp_;
  EventFeedSettings settings_;
  std::unordered_map<TenantId, std::size_t> followers_;
  std::size_t count_ = 0;
  Event left_;
  bool stopping_ = false;
};

}  // namespace gs

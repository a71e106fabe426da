// Sandboxes as people ask for them: placed, recorded, and told to their hosts.
//
// What is wanted goes to the store first and to the host second: a host that is not connected learns of it when it comes
// back. What is observed comes in through the gateway. Roles are checked by the caller. Loop thread only; store, hub,
// events and clock must outlive it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "async/task.h"
#include "server/gateway/link_hub.h"
#include "server/placement/placement.h"
#include "server/sandboxes/sandbox_events.h"
#include "server/store/store.h"

namespace gs {

struct SandboxWish {
  std::string name;       // empty: one is made up
  std::string blueprint;  // name, id or digest
  std::optional<HostId> host;
  std::optional<ClusterId> cluster;  // none: that of the host, or the tenant's default
  std::map<std::string, std::string> requiredTags;
  std::vector<std::string> requiredTraits;
  std::string runtime = "docker";
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> env;
  std::string workingDir;
  std::string user;
  Resources resources;
  RestartPolicy restart{};
  Store::Placing::NoHost noHost = Store::Placing::NoHost::kRefuse;
  Seconds stopAfterDisconnect{0};
  std::optional<Seconds> ttl{};  // deleted this long after its creation; none: never
  Seconds idleStop{0};           // stopped after this long without a session; 0: never
  std::optional<RepeatKey> repeat{};  // none: a second call makes a second sandbox
};

// Where a sandbox would go now, and why not elsewhere.
struct PlacementReport {
  std::optional<HostId> chosen;
  struct Line {
    HostId host;
    std::string hostName;
    std::optional<Rejection> rejection;  // none: it fits
  };
  std::vector<Line> hosts;  // all that were looked at, those that fit first
  std::string fix;          // what to do when none fits
};

// For Store::Placing::choose: the host that placement chooses, or why each of them does not fit.
[[nodiscard]] std::function<Result<std::size_t>(const std::vector<HostLoad>&)> chooserFor(PlacementRequest request);

class SandboxService {
 public:
  SandboxService(Store& store, LinkHub& hub, SandboxEvents& events, const Clock& clock, PlacementRules rules = {});

  // Chooses a host, records the sandbox as placing and tells the host; one that may wait is recorded without a host when
  // none fits (kResourceExhausted, too_many_waiting: no more may). kFailedPrecondition (reason no_host_fits, a line
  // for each host): no host fits, or (runtime_coming_soon) the runtime cannot be used yet. kNotFound: blueprint, host or
  // cluster, with the member's pointer. kAlreadyExists: the name. In every failure nothing is recorded. A repeat with the
  // wish's repeat key: as Store::placeSandbox, whatever became of host and blueprint since.
  [[nodiscard]] Task<Result<SandboxRecord>> create(Actor actor, SandboxWish wish);
  // What create() would decide for this wish now; nothing is recorded. That no host fits is an answer, not an error; for
  // the rest the errors of create().
  [[nodiscard]] Task<Result<PlacementReport>> explain(Actor actor, SandboxWish wish);
  // The same for one that waits for a host: why it still does.
  [[nodiscard]] Task<Result<PlacementReport>> explainWaiting(SandboxRecord waiting);
  // A host for one that waits, if there is one by now; the host is told. no_host_fits: it waits on. Others as
  // Store::placeWaiting.
  [[nodiscard]] Task<Result<SandboxRecord>> placeWaiting(SandboxRecord waiting);
  // Cordons the host and stops what runs there. Repeats as Store::drainHost. Returns the host as it is then.
  [[nodiscard]] Task<Result<HostRecord>> drain(Actor actor, HostId host, Millis grace);
  [[nodiscard]] Task<Result<SandboxRecord>> get(Actor actor, SandboxId id);
  // Returns as soon as the observed state is one of `states`, or as it is at the deadline. An end (failed, stopped) of a
  // generation that is past does not count: it says nothing about the start that was asked for since. kNotFound as soon
  // as it is gone; kUnavailable while the server stops; kCancelled soon after `clientLeft` says so.
  [[nodiscard]] Task<Result<SandboxRecord>> waitFor(Actor actor, SandboxId id, std::vector<SandboxState> states,
                                                    Deadline deadline, std::function<bool()> clientLeft = [] { return false; });
  [[nodiscard]] Task<Result<Page<SandboxRecord>>> list(Actor actor, Store::SandboxFilter filter, PageRequest page);
  // What happened to it, also when it is gone. Errors as Store::listSandboxEvents.
  [[nodiscard]] Task<Result<SandboxEventSlice>> events(Actor actor, SandboxEventQuery query);
  // Record what is wanted and tell the host. Repeats as Store::setDesired. Starting one that is archived restores it where
  // its demands allow.
  [[nodiscard]] Task<Result<SandboxRecord>> start(Actor actor, SandboxId id);
  [[nodiscard]] Task<Result<SandboxRecord>> stop(Actor actor, SandboxId id, Millis grace);
  [[nodiscard]] Task<Result<SandboxRecord>> remove(Actor actor, SandboxId id);

  // A fresh root file system, of another blueprint when one is named; each call is a new one. kFailedPrecondition, reason
  // cannot_reprovision: the sandbox's host does not fit, and the message says why. Otherwise as Store::reprovision.
  struct Fresh {
    std::optional<std::string> blueprint{};  // name, id or digest; none: the one that it has
    Millis grace{10'000};
    std::optional<RepeatKey> repeat{};
  };
  [[nodiscard]] Task<Result<SandboxRecord>> reprovision(Actor actor, SandboxId id, Fresh fresh);

  // Everything that it wrote goes to the artifact store, then its host is free. Repeats and errors as Store::archive.
  [[nodiscard]] Task<Result<SandboxRecord>> archive(Actor actor, SandboxId id, Millis grace);
  // Places an archived sandbox anew: on that host, or where its demands allow. kNotFound: the host. kFailedPrecondition
  // (no_host_fits, a line for each host); otherwise as Store::restore.
  [[nodiscard]] Task<Result<SandboxRecord>> restore(Actor actor, SandboxId id, std::optional<HostId> host);
  // What to change; as Store::setLifetime, with the expiry counted from now. 0: never.
  struct LifetimeWish {
    std::optional<Seconds> ttl{};
    std::optional<Seconds> idleStop{};
  };
  [[nodiscard]] Task<Result<SandboxRecord>> setLifetime(Actor actor, SandboxId id, LifetimeWish wish);
  // Deletes what has expired and stops what is idle, and tells the hosts. Those in `inUse` are not idle. Returns when the
  // next one is due, as Store::actOnDeadlines.
  [[nodiscard]] Task<Result<std::optional<WallTime>>> actOnDeadlines(std::vector<SandboxId> inUse);

  // Everyone in waitFor() looks again: something changed that concerns many sandboxes.
  void wakeWaiters();
  // From now on waitFor() ends at once with kUnavailable. Repeat is harmless.
  void beginStop();

 private:
  struct Question {
    BlueprintRecord blueprint;
    Store::HostQuery hosts;
    PlacementRequest request;
  };
  [[nodiscard]] Task<Result<ClusterId>> resolveCluster(Actor actor, const SandboxWish& wish);
  [[nodiscard]] Task<Result<Question>> ask(Actor actor, const SandboxWish& wish);
  [[nodiscard]] Task<Result<Question>> askAgain(SandboxRecord waiting);
  [[nodiscard]] Task<Result<PlacementReport>> report(TenantId tenant, Question question);
  [[nodiscard]] Task<Result<SandboxRecord>> place(Actor actor, SandboxWish wish, Question question);
  [[nodiscard]] Task<Result<SandboxRecord>> setDesired(Actor actor, SandboxId id, DesiredState desired, Millis grace);
  void tellHost(const SandboxRecord& record);

  Store& store_;
  LinkHub& hub_;
  SandboxEvents& events_;
  const Clock& clock_;
  PlacementRules rules_;
  bool stopping_ = false;
};

}  // namespace gs

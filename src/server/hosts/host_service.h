// Clusters and hosts as operators change them.
//
// What a host says about itself comes in through the gateway; nothing of that is here. Roles are checked by the caller.
// Loop thread only; store and hub must outlive it.
#pragma once

#include "async/task.h"
#include "server/gateway/link_hub.h"
#include "server/store/store.h"

namespace gs {

// WebSocket close code that tells an agent that its host was revoked: it must not dial again with that certificate.
inline constexpr std::uint16_t kCloseHostRevoked = 4403;

// A sandbox that its host holds and that has no record here.
struct AdoptableSandbox {
  HeldSandbox held;
  std::optional<BlueprintRecord> blueprint;  // in this tenant; none: it must be imported before the sandbox can be adopted
};

class HostService {
 public:
  HostService(Store& store, LinkHub& hub, const Clock& clock) : store_(store), hub_(hub), clock_(clock) {}

  // kAlreadyExists: the name is taken, which is also what a repeat gets.
  [[nodiscard]] Task<Result<ClusterRecord>> createCluster(Actor actor, std::string name, ClusterKind kind);
  [[nodiscard]] Task<Result<ClusterRecord>> getCluster(Actor actor, ClusterId id);
  [[nodiscard]] Task<Result<Page<ClusterRecord>>> listClusters(Actor actor, PageRequest page);
  // kAborted: another version; kAlreadyExists: the name.
  [[nodiscard]] Task<Result<ClusterRecord>> renameCluster(Actor actor, ClusterId id, std::string name,
                                                          std::int64_t expectedVersion);
  // kFailedPrecondition: the default one, or not empty. Repeat: kNotFound.
  [[nodiscard]] Task<Status> deleteCluster(Actor actor, ClusterId id);

  [[nodiscard]] Task<Result<HostRecord>> getHost(Actor actor, HostId id);
  [[nodiscard]] Task<Result<Page<HostRecord>>> listHosts(Actor actor, std::optional<ClusterId> cluster, PageRequest page);
  [[nodiscard]] Task<Result<HostRecord>> updateHost(Actor actor, HostId id, Store::HostUpdate update,
                                                    std::int64_t expectedVersion);
  // Revokes, then cuts the link and every channel before it returns. Its sandboxes change with it; whoever waits for them
  // must be told by the caller (SandboxService::wakeWaiters). Repeat: kNotFound.
  [[nodiscard]] Task<Status> removeHost(Actor actor, HostId id, Store::RemoveHost mode);

  // adoption.cc: a control plane whose database is empty or came from a backup. What connected hosts hold beyond it.
  // kFailedPrecondition (host_disconnected): nobody can tell now.
  [[nodiscard]] Task<Result<std::vector<AdoptableSandbox>>> listAdoptable(Actor actor, HostId id);
  // Records the sandbox as the host holds it, one generation higher; what runs goes on. Empty name: the one that it has.
  // A repeat returns the record. kNotFound: the host holds no such unknown sandbox. kAlreadyExists: the name is taken.
  // kFailedPrecondition: blueprint_missing, sandbox_deleting, host_disconnected. Whoever waits for it must be told by the
  // caller.
  [[nodiscard]] Task<Result<SandboxRecord>> adopt(Actor actor, HostId host, SandboxId id, std::string name);
  // A person's confirmation that the deletions which the host holds under that name are meant; audited before it is
  // passed on. Errors as LinkHub::confirmDeletions.
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDeletions(Actor actor, HostId id, std::string fence);
  // Likewise a person's no: none of them is carried out until it is wished anew. Errors as LinkHub::rejectDeletions.
  [[nodiscard]] Task<Result<std::uint32_t>> rejectDeletions(Actor actor, HostId id, std::string fence);

 private:
  [[nodiscard]] Task<Status> auditAnswer(Actor actor, HostId id, std::string action, std::string fence);
  [[nodiscard]] Task<Result<std::optional<BlueprintRecord>>> findManifest(TenantId tenant, Digest manifest);

  Store& store_;
  LinkHub& hub_;
  const Clock& clock_;
};

}  // namespace gs

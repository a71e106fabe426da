#include "server/hosts/host_service.h"

namespace gs {

Task<Result<ClusterRecord>> HostService::createCluster(Actor actor, std::string name, ClusterKind kind) {
  ClusterRecord cluster;
  cluster.id = ClusterId::make();
  cluster.tenantId = actor.tenantId;
  cluster.name = std::move(name);
  cluster.kind = kind;
  cluster.createdAt = clock_.wallNow();
  GS_CO_CHECK(co_await store_.insertCluster(std::move(actor), cluster));
  co_return cluster;
}

Task<Result<ClusterRecord>> HostService::getCluster(Actor actor, ClusterId id) {
  return store_.getCluster(std::move(actor.tenantId), std::move(id));
}

Task<Result<Page<ClusterRecord>>> HostService::listClusters(Actor actor, PageRequest page) {
  return store_.listClusters(std::move(actor.tenantId), std::move(page));
}

Task<Result<ClusterRecord>> HostService::renameCluster(Actor actor, ClusterId id, std::string name,
                                                       std::int64_t expectedVersion) {
  return store_.renameCluster(std::move(actor), std::move(id), std::move(name), expectedVersion);
}

Task<Status> HostService::deleteCluster(Actor actor, ClusterId id) {
  return store_.deleteCluster(std::move(actor), std::move(id));
}

Task<Result<HostRecord>> HostService::getHost(Actor actor, HostId id) {
  return store_.getHost(std::move(actor.tenantId), std::move(id));
}

Task<Result<Page<HostRecord>>> HostService::listHosts(Actor actor, std::optional<ClusterId> cluster, PageRequest page) {
  return store_.listHosts(std::move(actor.tenantId), std::move(cluster), std::move(page));
}

Task<Result<HostRecord>> HostService::updateHost(Actor actor, HostId id, Store::HostUpdate update,
                                                 std::int64_t expectedVersion) {
  return store_.updateHost(std::move(actor), std::move(id), std::move(update), expectedVersion);
}

Task<Status> HostService::removeHost(Actor actor, HostId id, Store::RemoveHost mode) {
  GS_CO_CHECK(co_await store_.removeHost(std::move(actor), id, mode));
  // In this order: a link that is dialled in between finds its certificate revoked already.
  hub_.cut(id, kCloseHostRevoked, "host revoked");
  co_return Status{};
}

}  // namespace gs

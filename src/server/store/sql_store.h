// The Store over SQL. One class, because it is one database thread; its methods are in one source a topic.
//
//   identity_store.cc  tenants, users, API keys      cluster_store.cc    clusters, provisioning tokens
//   host_store.cc      hosts as people see them      link_store.cc       enrollment, certificates, links
//   blueprint_store.cc blueprints                    sandbox_store.cc    sandboxes as people see them
//   observation_store.cc what hosts say of sandboxes audit_store.cc      audit, health
//   waiting_store.cc   sandboxes that wait for a host recovery_store.cc   what hosts know and an older database does not
//   event_store.cc    what happened to sandboxes     root_store.cc       fresh root file systems
//   archive_store.cc  sandboxes away from any host   deadline_store.cc   expiry and idle stop
//   repeat_rows.cc    creations by the client's key
//
// Lifetime: the daemon owns it; the clock must outlive it. Threads: calls on the loop, SQL on the database thread.
#pragma once

#include "db/database_thread.h"
#include "server/store/store.h"

namespace gs {

class SqlStore final : public Store {
 public:
  SqlStore(Database database, const Clock& clock) : thread_(std::move(database)), clock_(clock) {}
  SqlStore(std::shared_ptr<Database> database, const Clock& clock, WorkRunner& runner)
      : thread_(std::move(database), runner), clock_(clock) {}

  // The database as it is, in one piece (Database::image).
  [[nodiscard]] Task<Result<std::string>> image();

  Task<Status> checkHealth() override;

  Task<Status> insertTenant(NewTenant all) override;
  Task<Result<std::int64_t>> countTenants() override;
  Task<Result<TenantRecord>> getTenant(TenantId id) override;
  Task<Result<UserRecord>> getUser(TenantId tenant, UserId id) override;
  Task<Status> insertApiKey(Actor actor, ApiKeyRecord key) override;
  Task<Result<ApiKeyRecord>> getApiKey(ApiKeyId id) override;
  Task<Result<Page<ApiKeyRecord>>> listApiKeys(TenantId tenant, PageRequest page) override;
  Task<Status> revokeApiKey(Actor actor, ApiKeyId id) override;
  Task<Status> touchApiKey(ApiKeyId id, WallTime at) override;

  Task<Status> insertCluster(Actor actor, ClusterRecord cluster) override;
  Task<Result<ClusterRecord>> getCluster(TenantId tenant, ClusterId id) override;
  Task<Result<ClusterRecord>> getDefaultCluster(TenantId tenant) override;
  Task<Result<Page<ClusterRecord>>> listClusters(TenantId tenant, PageRequest page) override;
  Task<Result<ClusterRecord>> renameCluster(Actor actor, ClusterId id, std::string name,
                                            std::int64_t expectedVersion) override;
  Task<Status> deleteCluster(Actor actor, ClusterId id) override;
  Task<Status> insertToken(Actor actor, TokenRecord token) override;
  Task<Result<TokenRecord>> getToken(TenantId tenant, TokenId id) override;
  Task<Result<Page<TokenRecord>>> listTokens(TenantId tenant, PageRequest page) override;
  Task<Status> revokeToken(Actor actor, TokenId id) override;

  Task<Result<HostRecord>> enrollHost(Enrollment enrollment) override;
  Task<Status> insertCertificate(CertificateRecord certificate) override;
  Task<Result<HostRecord>> authenticateHost(HostId id, std::string serialHex) override;
  Task<Result<HostRecord>> getHost(TenantId tenant, HostId id) override;
  Task<Result<Page<HostRecord>>> listHosts(TenantId tenant, std::optional<ClusterId> cluster, PageRequest page) override;
  Task<Result<std::vector<HostLoad>>> hostLoads(TenantId tenant, HostQuery query) override;
  Task<Result<HostRecord>> updateHost(Actor actor, HostId id, HostUpdate update, std::int64_t expectedVersion) override;
  Task<Result<std::vector<SandboxRecord>>> drainHost(Actor actor, HostId id, Millis stopGrace) override;
  Task<Status> removeHost(Actor actor, HostId id, RemoveHost mode) override;
  Task<Result<std::int64_t>> linkUp(LinkUp up) override;
  Task<Status> linkDown(HostId id, std::int64_t epoch, std::string reason, WallTime now) override;
  Task<Status> markAllDisconnected(WallTime now) override;
  Task<Status> recordTelemetry(HostId id, HostTelemetry telemetry, WallTime now) override;
  Task<Status> recordFacts(HostId id, HostFacts facts, WallTime now) override;
  Task<Status> flagDuplicateIdentity(HostId id, WallTime now) override;
  Task<Status> clearDuplicateIdentities(WallTime before) override;

  Task<Status> insertBlueprint(Actor actor, BlueprintRecord blueprint) override;
  Task<Result<BlueprintRecord>> getBlueprint(TenantId tenant, BlueprintId id) override;
  Task<Result<BlueprintRecord>> findBlueprint(TenantId tenant, std::string reference) override;
  Task<Result<Page<BlueprintRecord>>> listBlueprints(TenantId tenant, PageRequest page) override;
  Task<Status> deleteBlueprint(Actor actor, BlueprintId id) override;
  Task<Result<std::vector<std::string>>> allManifests() override;

  Task<Result<SandboxRecord>> placeSandbox(Actor actor, SandboxRecord draft, Placing placing) override;
  Task<Result<std::vector<SandboxRecord>>> listWaiting() override;
  Task<Result<SandboxRecord>> placeWaiting(TenantId tenant, SandboxId id, Placing placing) override;
  Task<Result<SandboxRecord>> archive(Actor actor, SandboxId id, Millis stopGrace) override;
  Task<Result<ArchiveTarget>> archiveTarget(HostId host, SandboxId id, std::int64_t generation) override;
  Task<Result<SandboxRecord>> finishArchive(HostId host, SandboxId id, FinishedArchive archive) override;
  Task<Result<std::vector<SandboxId>>> archivingSandboxes() override;
  Task<Result<SandboxRecord>> restore(Actor actor, SandboxId id, Placing placing) override;
  Task<Result<std::string>> manifestFor(HostId host, Digest manifest) override;
  Task<Result<SandboxRecord>> reprovision(Actor actor, SandboxId id, Reprovisioning wish) override;
  Task<Result<std::optional<SandboxRecord>>> findRepeated(TenantId tenant, RepeatKey key) override;
  Task<Status> insertSandbox(Actor actor, SandboxRecord sandbox) override;
  Task<Result<SandboxRecord>> getSandbox(TenantId tenant, SandboxId id) override;
  Task<Result<SandboxRecord>> findSandbox(TenantId tenant, std::string idOrName) override;
  Task<Result<Page<SandboxRecord>>> listSandboxes(TenantId tenant, SandboxFilter filter, PageRequest page) override;
  Task<Result<SandboxRecord>> setDesired(Actor actor, SandboxId id, DesiredState desired, Millis stopGrace) override;
  Task<Result<SandboxRecord>> setLifetime(Actor actor, SandboxId id, Lifetime lifetime) override;
  Task<Status> noteActivity(SandboxId id) override;
  Task<Result<DeadlineSweep>> actOnDeadlines(std::vector<SandboxId> inUse) override;
  Task<Result<std::vector<SandboxRecord>>> sandboxesOnHost(HostId id) override;
  Task<Result<SandboxRecord>> applyObservation(HostId host, Observation observation) override;
  Task<Result<Recovery>> recoverWish(HostId host, HeldSandbox held) override;
  Task<Result<std::vector<HostId>>> hostIds(ClusterId cluster) override;
  Task<Status> adoptSandbox(Actor actor, SandboxRecord record) override;
  Task<Result<SandboxRecord>> refuseAssignment(HostId host, SandboxId id, std::int64_t generation,
                                               std::string message) override;

  Task<Result<SandboxEventSlice>> listSandboxEvents(TenantId tenant, SandboxEventQuery query) override;
  Task<Result<std::int64_t>> pruneSandboxEvents(SandboxEventLimits limits) override;

  Task<Status> appendAudit(AuditRecord record) override;
  Task<Result<Page<AuditRecord>>> listAudit(TenantId tenant, PageRequest page) override;

 private:
  DatabaseThread thread_;
  const Clock& clock_;
};

}  // namespace gs

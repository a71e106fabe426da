// The control plane's durable state: every SQL statement of the server is behind this class.
//
// Every call runs on the database's own thread, in order, each in one transaction; a call that failed changed nothing.
// Tenant-scoped reads take the tenant and answer kNotFound for another tenant's id, so that existence never leaks.
// Updates that take `expectedVersion` answer kAborted (reason "version_mismatch") when it is not the present one.
// Loop thread only. Restart: everything that returned success is there (WAL, FULL).
//
// Changes that people make take an Actor; its line goes to the audit log in the same transaction.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/task.h"
#include "server/core/records.h"
#include "server/core/sandbox_event.h"
#include "wire/messages.h"

namespace gs {

class Store {
 public:
  // Opens and migrates; ":memory:" is a database that lives as long as the store. Errors as Database::open and migrate.
  // The clock dates audit lines and revocations; none: the system's. It must outlive the store.
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(const std::string& path, const Clock* clock = nullptr);
  virtual ~Store() = default;

  // Reads and writes; fails as every other write would (full disk, damage). For health checks.
  [[nodiscard]] virtual Task<Status> checkHealth() = 0;

  // --- tenants, users, keys -------------------------------------------------------------------------------------
  // Tenant, its default byo cluster "default", its first admin and that admin's first key, together.
  // kAlreadyExists when the tenant's name is taken.
  struct NewTenant {
    TenantRecord tenant;
    UserRecord admin;
    ApiKeyRecord key;
    ClusterRecord cluster;
  };
  [[nodiscard]] virtual Task<Status> insertTenant(NewTenant all) = 0;
  [[nodiscard]] virtual Task<Result<std::int64_t>> countTenants() = 0;  // 0: not initialised
  [[nodiscard]] virtual Task<Result<TenantRecord>> getTenant(TenantId id) = 0;
  [[nodiscard]] virtual Task<Result<UserRecord>> getUser(TenantId tenant, UserId id) = 0;
  [[nodiscard]] virtual Task<Status> insertApiKey(Actor actor, ApiKeyRecord key) = 0;
  // By id alone (authentication), with the user's role; revoked ones included, the caller decides.
  [[nodiscard]] virtual Task<Result<ApiKeyRecord>> getApiKey(ApiKeyId id) = 0;
  [[nodiscard]] virtual Task<Result<Page<ApiKeyRecord>>> listApiKeys(TenantId tenant, PageRequest page) = 0;
  [[nodiscard]] virtual Task<Status> revokeApiKey(Actor actor, ApiKeyId id) = 0;  // repeat: success
  [[nodiscard]] virtual Task<Status> touchApiKey(ApiKeyId id, WallTime at) = 0;

  // --- clusters, tokens -----------------------------------------------------------------------------------------
  [[nodiscard]] virtual Task<Status> insertCluster(Actor actor, ClusterRecord cluster) = 0;
  [[nodiscard]] virtual Task<Result<ClusterRecord>> getCluster(TenantId tenant, ClusterId id) = 0;
  [[nodiscard]] virtual Task<Result<ClusterRecord>> getDefaultCluster(TenantId tenant) = 0;
  [[nodiscard]] virtual Task<Result<Page<ClusterRecord>>> listClusters(TenantId tenant, PageRequest page) = 0;
  [[nodiscard]] virtual Task<Result<ClusterRecord>> renameCluster(Actor actor, ClusterId id, std::string name,
                                                                  std::int64_t expectedVersion) = 0;
  // Revokes its tokens with it. kFailedPrecondition when it is the default one, has hosts, or sandboxes wait in it.
  [[nodiscard]] virtual Task<Status> deleteCluster(Actor actor, ClusterId id) = 0;
  [[nodiscard]] virtual Task<Status> insertToken(Actor actor, TokenRecord token) = 0;  // managed: kFailedPrecondition
  [[nodiscard]] virtual Task<Result<TokenRecord>> getToken(TenantId tenant, TokenId id) = 0;
  [[nodiscard]] virtual Task<Result<Page<TokenRecord>>> listTokens(TenantId tenant, PageRequest page) = 0;
  [[nodiscard]] virtual Task<Status> revokeToken(Actor actor, TokenId id) = 0;  // repeat: success

  // --- enrollment and hosts -------------------------------------------------------------------------------------
  // Burns one use of the token and inserts the host (name made unique) and its certificate, in one transaction.
  // kUnauthenticated with reason token_unknown, token_expired, token_exhausted or token_revoked; the secret hash is
  // compared in constant time before anything is told apart.
  struct Enrollment {
    TokenId tokenId;
    std::string secretHash;
    HostId hostId;
    std::string wantedName;
    HostFacts facts;
    CertificateRecord certificate;
    WallTime now{};
  };
  [[nodiscard]] virtual Task<Result<HostRecord>> enrollHost(Enrollment enrollment) = 0;
  // A renewed certificate; earlier ones of the host stay valid until they expire. kPermissionDenied: host revoked.
  [[nodiscard]] virtual Task<Status> insertCertificate(CertificateRecord certificate) = 0;
  // Whether a presented certificate is known and not revoked, with its host, whatever the tenant.
  // kUnauthenticated: unknown serial or host. kPermissionDenied (reason host_revoked): revoked.
  [[nodiscard]] virtual Task<Result<HostRecord>> authenticateHost(HostId id, std::string serialHex) = 0;

  [[nodiscard]] virtual Task<Result<HostRecord>> getHost(TenantId tenant, HostId id) = 0;
  [[nodiscard]] virtual Task<Result<Page<HostRecord>>> listHosts(TenantId tenant, std::optional<ClusterId> cluster,
                                                                 PageRequest page) = 0;
  // The cluster's hosts by id, or the one host of it, each with what is promised on it. Empty when there are none.
  struct HostQuery {
    ClusterId cluster;
    std::optional<HostId> host{};
    Digest manifest{};  // of the blueprint that HostLoad::holdsBlueprint is about
  };
  [[nodiscard]] virtual Task<Result<std::vector<HostLoad>>> hostLoads(TenantId tenant, HostQuery query) = 0;
  // Present values change nothing and keep the version. Uncordoning also forgives the failed creations.
  struct HostUpdate {
    std::optional<std::string> name{};
    std::optional<std::map<std::string, std::string>> tags{};
    std::optional<bool> cordoned{};
  };
  [[nodiscard]] virtual Task<Result<HostRecord>> updateHost(Actor actor, HostId id, HostUpdate update,
                                                            std::int64_t expectedVersion) = 0;
  // Cordons the host and wishes every sandbox stopped that is to run there, in one transaction. Returns those that were
  // changed, as they are now. A repeat changes and returns what was started since.
  [[nodiscard]] virtual Task<Result<std::vector<SandboxRecord>>> drainHost(Actor actor, HostId id, Millis stopGrace) = 0;
  enum class RemoveHost : std::uint8_t { kOnlyWhenEmpty, kAlsoWithSandboxes };
  // Revokes its certificates, marks the host revoked and hides it; sandboxes on it become failed/host_removed, those that
  // were being deleted are gone. kFailedPrecondition (details name them) when it has sandboxes and kOnlyWhenEmpty.
  // Repeat: kNotFound.
  [[nodiscard]] virtual Task<Status> removeHost(Actor actor, HostId id, RemoveHost mode) = 0;

  // Link life. linkUp gives the new epoch (greater than every one before, also when an older database was restored).
  // kPermissionDenied (host_revoked): the host was removed.
  struct LinkUp {
    HostId hostId;
    std::int64_t protocol = 0;
    std::vector<std::string> features;
    HostFacts facts;
    HostTelemetry telemetry;
    WallTime now{};
  };
  [[nodiscard]] virtual Task<Result<std::int64_t>> linkUp(LinkUp up) = 0;
  // Ignored unless `epoch` is the host's present one. While the host is disconnected its sandboxes read as unknown with
  // reason host_disconnected; no row of theirs is written, so the next linkUp gives them back their state.
  [[nodiscard]] virtual Task<Status> linkDown(HostId id, std::int64_t epoch, std::string reason, WallTime now) = 0;
  // At server start: no link survived it. Hosts become disconnected (server_restarted).
  [[nodiscard]] virtual Task<Status> markAllDisconnected(WallTime now) = 0;
  [[nodiscard]] virtual Task<Status> recordTelemetry(HostId id, HostTelemetry telemetry, WallTime now) = 0;
  [[nodiscard]] virtual Task<Status> recordFacts(HostId id, HostFacts facts, WallTime now) = 0;
  // Two agents take turns with the host's identity. The first time is audited, a repeat only moves the time; unknown host:
  // success.
  [[nodiscard]] virtual Task<Status> flagDuplicateIdentity(HostId id, WallTime now) = 0;
  // Takes the flag, audited, from every host where it did not show since `before`.
  [[nodiscard]] virtual Task<Status> clearDuplicateIdentities(WallTime before) = 0;

  // --- blueprints -----------------------------------------------------------------------------------------------
  [[nodiscard]] virtual Task<Status> insertBlueprint(Actor actor, BlueprintRecord blueprint) = 0;
  [[nodiscard]] virtual Task<Result<BlueprintRecord>> getBlueprint(TenantId tenant, BlueprintId id) = 0;
  // By name, bpt_ id or sha256: digest.
  [[nodiscard]] virtual Task<Result<BlueprintRecord>> findBlueprint(TenantId tenant, std::string reference) = 0;
  [[nodiscard]] virtual Task<Result<Page<BlueprintRecord>>> listBlueprints(TenantId tenant, PageRequest page) = 0;
  // kFailedPrecondition while sandboxes use it; details name them.
  [[nodiscard]] virtual Task<Status> deleteBlueprint(Actor actor, BlueprintId id) = 0;
  // Of any tenant; for the blob sweep after a delete.
  [[nodiscard]] virtual Task<Result<std::vector<std::string>>> allManifests() = 0;

  // --- sandboxes ------------------------------------------------------------------------------------------------
  // Chooses a host and records the sandbox there, in one transaction: no two creations can take the same room. `choose`
  // gets the hosts as they are then and returns an index; it runs on the database's thread and must be pure. Its error
  // is the answer, and nothing is recorded. Other errors as insertSandbox.
  // With a repeat key that was used in the last 24 hours: that sandbox as it is now, and nothing is chosen or recorded.
  // kFailedPrecondition: repeat_key_reused (for another request), repeat_key_spent (its sandbox is gone).
  struct Placing {
    HostQuery hosts;
    std::function<Result<std::size_t>(const std::vector<HostLoad>&)> choose;
    std::optional<RepeatKey> repeat{};
    // What becomes of a sandbox for which `choose` says no_host_fits. kWait: it is recorded without a host, in the cluster
    // of `hosts`, requested/no_host_fits. kResourceExhausted (too_many_waiting) past kMaxWaiting of the tenant.
    enum class NoHost : std::uint8_t { kRefuse, kWait } noHost = NoHost::kRefuse;
  };
  static constexpr std::int64_t kMaxWaiting = 1'000;
  [[nodiscard]] virtual Task<Result<SandboxRecord>> placeSandbox(Actor actor, SandboxRecord draft, Placing placing) = 0;
  // Those of all tenants that wait for a host and are to run, oldest first.
  [[nodiscard]] virtual Task<Result<std::vector<SandboxRecord>>> listWaiting() = 0;
  // As placeSandbox(), for one that waits: it gets a host and is placing. One that no longer waits comes back as it is,
  // and nothing is chosen. kNotFound: it is gone. The error of `choose`: it waits on.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> placeWaiting(TenantId tenant, SandboxId id, Placing placing) = 0;
  // The sandbox that placeSandbox() would give back for this key; nothing when it is new. Errors likewise.
  [[nodiscard]] virtual Task<Result<std::optional<SandboxRecord>>> findRepeated(TenantId tenant, RepeatKey key) = 0;
  // On the host that it names. kAlreadyExists: the name is taken. kFailedPrecondition (host_removed), kNotFound
  // (blueprint): gone since they were looked at.
  [[nodiscard]] virtual Task<Status> insertSandbox(Actor actor, SandboxRecord sandbox) = 0;
  [[nodiscard]] virtual Task<Result<SandboxRecord>> getSandbox(TenantId tenant, SandboxId id) = 0;
  [[nodiscard]] virtual Task<Result<SandboxRecord>> findSandbox(TenantId tenant, std::string idOrName) = 0;
  struct SandboxFilter {
    std::optional<HostId> host;
    std::optional<SandboxState> state;
  };
  [[nodiscard]] virtual Task<Result<Page<SandboxRecord>>> listSandboxes(TenantId tenant, SandboxFilter filter,
                                                                        PageRequest page) = 0;
  // Sets what is wanted and raises the generation. A repeat with the same desired state changes nothing and returns the
  // record as it is, but for a start of one that ended by itself: that is a new generation. A deleting sandbox can only
  // be deleted: kFailedPrecondition; when its host was told to reject that, any wish withdraws it or wishes it anew. On a removed host deletion removes the record (state deleted comes back), everything
  // else is kFailedPrecondition (host_removed). One that waits for a host needs no word of one: deletion removes the record,
  // stopped it is stopped and no longer waits, started it waits again.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> setDesired(Actor actor, SandboxId id, DesiredState desired,
                                                               Millis stopGrace) = 0;
  // A fresh root file system, of another blueprint when one is given, and the wish that it runs; each call is a new
  // generation. `check` gets the host with what is promised on it and the blueprint, runs on the database's thread and
  // must be pure; its error is the answer. It is not called for a sandbox without host. kFailedPrecondition:
  // sandbox_deleting, sandbox_archived, host_removed, agent_too_old. With a repeat key that was used in the last 24
  // hours nothing changes, errors as placeSandbox.
  struct Reprovisioning {
    std::optional<BlueprintRecord> blueprint{};  // none: the one that it has
    Millis stopGrace{10'000};
    std::function<Status(const HostLoad&, const BlueprintRecord&)> check{};
    std::optional<RepeatKey> repeat{};
  };
  [[nodiscard]] virtual Task<Result<SandboxRecord>> reprovision(Actor actor, SandboxId id, Reprovisioning wish) = 0;
  // --- archives -------------------------------------------------------------------------------------------------
  // Wishes it archived. A repeat changes nothing, but for one that failed in its present generation: that is a new try.
  // kFailedPrecondition: sandbox_deleting, host_removed, agent_too_old, nothing_to_archive (it never had a host).
  [[nodiscard]] virtual Task<Result<SandboxRecord>> archive(Actor actor, SandboxId id, Millis stopGrace) = 0;
  // What an upload of this host is for: the sandbox, and the version that its layer comes on top of. kNotFound: not on
  // this host. kFailedPrecondition (not_archiving): not wanted archived, or in another generation.
  struct ArchiveTarget {
    SandboxRecord sandbox;
    std::string manifest;
    std::string imageConfig;
  };
  [[nodiscard]] virtual Task<Result<ArchiveTarget>> archiveTarget(HostId host, SandboxId id, std::int64_t generation) = 0;
  // Everything is here: the sandbox is archived, has no host any more, and the host is to remove what it has of it
  // (sandboxesOnHost), all in one transaction. Errors as archiveTarget; nothing is changed then.
  struct FinishedArchive {
    std::int64_t generation = 0;
    Digest manifestDigest;
    std::string manifest;
    std::string imageConfig;
    std::int64_t sizeBytes = 0;
    std::int64_t layerBytes = 0;
  };
  [[nodiscard]] virtual Task<Result<SandboxRecord>> finishArchive(HostId host, SandboxId id, FinishedArchive archive) = 0;
  // Sandboxes of any tenant that are on a host and wanted archived, by id.
  [[nodiscard]] virtual Task<Result<std::vector<SandboxId>>> archivingSandboxes() = 0;
  // Places an archived sandbox anew with what was archived as its root file system, in one transaction, and wishes it
  // running; `placing` as in placeSandbox. One that is not archived: kFailedPrecondition (not_archived); a repeat after it
  // was restored changes nothing.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> restore(Actor actor, SandboxId id, Placing placing) = 0;
  // The manifest of a version that a sandbox on this host is made of. kNotFound.
  [[nodiscard]] virtual Task<Result<std::string>> manifestFor(HostId host, Digest manifest) = 0;

  // When it is deleted and after how long without a session it is stopped. A repeat sets the same again.
  struct Lifetime {
    std::optional<std::optional<WallTime>> expiresAt{};  // none inside: never
    std::optional<Seconds> idleStop{};                   // 0: never
  };
  // kFailedPrecondition (sandbox_deleting) when it is being deleted already.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> setLifetime(Actor actor, SandboxId id, Lifetime lifetime) = 0;
  // A sign of use now. Unknown: nothing happens.
  [[nodiscard]] virtual Task<Status> noteActivity(SandboxId id) = 0;
  // Does what is due by the clock, in one transaction: expired sandboxes are wished deleted, idle ones stopped, as
  // setDesired() does and by kTtlActor and kIdleActor. Those in `inUse` count as active now. At most 100 of each.
  struct DeadlineSweep {
    std::vector<SandboxRecord> changed;
    std::optional<WallTime> next;  // when the next one is due; none: nobody waits
  };
  [[nodiscard]] virtual Task<Result<DeadlineSweep>> actOnDeadlines(std::vector<SandboxId> inUse) = 0;

  // What should exist on a host: every sandbox on it that is not deleted, those that are to be deleted or were archived and
  // are to be removed included. For the
  // host and not for clients: states are those that it reported last, nothing is derived.
  [[nodiscard]] virtual Task<Result<std::vector<SandboxRecord>>> sandboxesOnHost(HostId id) = 0;
  // Applies an observation of `host`. Older or equal (generation, sequence): nothing changes, the record comes back.
  // kNotFound when the sandbox is unknown or on another host. A deleted observation removes the record when deletion is
  // wanted (the record comes back a last time with state deleted); unasked it is failed/runtime_error.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> applyObservation(HostId host, Observation observation) = 0;
  // What the host holds of a sandbox, towards a database that may have come from a backup. Of a higher generation than the
  // record's: the wish, the blueprint and the generation are taken over (audited), so that nothing is undone; else nothing
  // changes. Where the record has it on no host or on another one, core/claim.h decides: claimed, it is on this host from
  // now on, in a new generation (audited). A repeat: kNothingNew.
  struct Recovery {
    enum class Verdict : std::uint8_t {
      kUnknown,  // there is no record of it that has to do with this host
      kNothingNew,
      kRecovered,
      kClaimed,
      kYields,  // it is another host's: what runs here is to be stopped, and kept
    } verdict = Verdict::kUnknown;
    SandboxRecord record{};  // claimed only
    HostId before{};         // claimed only: the host that it was taken from; empty: it had none
  };
  [[nodiscard]] virtual Task<Result<Recovery>> recoverWish(HostId host, HeldSandbox held) = 0;
  // Every host of the cluster that was not removed.
  [[nodiscard]] virtual Task<Result<std::vector<HostId>>> hostIds(ClusterId cluster) = 0;
  // Records a sandbox that its host holds already, with the observation and the generations that are in `record`.
  // kAlreadyExists: the name is taken, or the id has a record (reason sandbox_known). Otherwise as insertSandbox.
  [[nodiscard]] virtual Task<Status> adoptSandbox(Actor actor, SandboxRecord record) = 0;
  // The host refused the assignment: failed/spec_rejected. Another generation than the present one: nothing changes.
  [[nodiscard]] virtual Task<Result<SandboxRecord>> refuseAssignment(HostId host, SandboxId id, std::int64_t generation,
                                                                     std::string message) = 0;

  // --- what happened to sandboxes -------------------------------------------------------------------------------
  // Every change of a sandbox that a client can see is an event, written in the transaction of the change. Readers see
  // them in order: none appears before one that a reader has passed.
  // kNotFound: the query names a sandbox of which the tenant neither has nor keeps anything.
  [[nodiscard]] virtual Task<Result<SandboxEventSlice>> listSandboxEvents(TenantId tenant, SandboxEventQuery query) = 0;
  // Forgets the oldest beyond the limits, a bounded number in one call; returns how many. 0: nothing is left to do.
  [[nodiscard]] virtual Task<Result<std::int64_t>> pruneSandboxEvents(SandboxEventLimits limits) = 0;

  // --- audit ----------------------------------------------------------------------------------------------------
  [[nodiscard]] virtual Task<Status> appendAudit(AuditRecord record) = 0;
  [[nodiscard]] virtual Task<Result<Page<AuditRecord>>> listAudit(TenantId tenant, PageRequest page) = 0;
};

}  // namespace gs

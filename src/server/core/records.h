// What the control plane knows, as plain values: one struct a table. No I/O, no JSON, no SQL.
//
// `version` grows by one with every update that a client can see; it is the ETag. Secrets are here only as SHA-256
// hashes (raw 32 bytes).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/ids.h"
#include "server/core/host_outcome.h"
#include "wire/host_types.h"
#include "wire/sandbox_types.h"

namespace gs {

enum class Role : std::uint8_t { kViewer, kMember, kAdmin };  // each includes the one before
[[nodiscard]] std::string_view roleName(Role role);
[[nodiscard]] Result<Role> parseRole(std::string_view name);

struct TenantRecord {
  TenantId id;
  std::string name;
  WallTime createdAt{};
};

struct UserRecord {
  UserId id;
  TenantId tenantId;
  std::string email;
  Role role = Role::kViewer;
  WallTime createdAt{};
};

struct ApiKeyRecord {
  ApiKeyId id;
  TenantId tenantId;
  UserId userId;
  std::string name;
  Role role = Role::kViewer;
  Role userRole = Role::kViewer;  // of the user it stands for; computed by the store. The lesser of the two counts
  std::string secretHash;
  WallTime createdAt{};
  std::optional<WallTime> lastUsedAt;
  std::optional<WallTime> revokedAt;
};

enum class ClusterKind : std::uint8_t { kByo, kManaged };

struct ClusterRecord {
  ClusterId id;
  TenantId tenantId;
  std::string name;
  ClusterKind kind = ClusterKind::kByo;
  bool isDefault = false;
  WallTime createdAt{};
  std::int64_t version = 1;
  std::int64_t hostCount = 0;  // computed by the store
};

struct TokenRecord {
  TokenId id;
  TenantId tenantId;
  ClusterId clusterId;
  std::string name;
  std::string secretHash;
  std::int64_t maxUses = 1;
  std::int64_t uses = 0;
  WallTime createdAt{};
  WallTime expiresAt{};
  std::optional<WallTime> revokedAt;
};

enum class HostState : std::uint8_t { kConnected, kDisconnected, kRevoked };

struct HostRecord {
  HostId id;
  TenantId tenantId;
  ClusterId clusterId;
  std::string name;
  HostState state = HostState::kDisconnected;
  std::string disconnectReason;  // link_closed, heartbeat_lost, superseded, server_restarted
  std::optional<WallTime> connectedAt;
  std::optional<WallTime> lastSeenAt;
  std::int64_t epoch = 0;
  std::int64_t protocol = 0;
  std::vector<std::string> features;
  HostFacts facts;
  HostTelemetry telemetry;
  std::map<std::string, std::string> tags;
  WallTime createdAt{};
  std::int64_t version = 1;
  bool cordoned = false;          // an operator wants no new sandboxes on it
  HostTrial trial;                // what the last creations on it say
  std::optional<WallTime> duplicateSince;  // two agents take turns with its identity; see identity_watch.h
  std::int64_t sandboxCount = 0;  // not deleted; computed by the store
};

// A host and what is promised to the sandboxes on it: what placement looks at. Promised is promised from the moment of
// acceptance until the record is gone, whatever the sandbox does: a stopped one can be started at any time.
struct HostLoad {
  HostRecord host;
  std::uint64_t memoryBytes = 0;  // sum of the limits of its sandboxes
  std::uint64_t cpuMillis = 0;    // likewise
  bool holdsBlueprint = false;    // a sandbox of that blueprint has run on it and is there, so its cache has it
  bool beingTried = false;        // a sandbox placed since it began to rest has had no outcome yet
};

struct CertificateRecord {
  std::string serialHex;
  HostId hostId;
  WallTime notAfter{};
  std::optional<WallTime> revokedAt;
};

struct BlueprintRecord {
  BlueprintId id;
  TenantId tenantId;
  std::string name;
  Digest manifestDigest;
  std::string manifest;     // canonical JSON
  std::string imageConfig;  // the untouched OCI image config
  std::string architecture;
  std::string os;
  std::int64_t sizeBytes = 0;  // all blobs
  Digest archiveDigest;
  std::string source;  // "archive"
  UserId createdBy;
  WallTime createdAt{};
};

// Where a sandbox may run, as its creator said: kept, because it may be placed more than once in its life.
struct SandboxDemands {
  std::optional<HostId> host;  // that one and no other
  std::map<std::string, std::string> tags;
  std::vector<std::string> traits;
};

// What is kept of a sandbox away from any host: its blueprint's layers and the one that it wrote, as a version of their
// own. Kept on after it was restored, for as long as it is of this version.
struct SandboxArchive {
  Digest manifestDigest;
  std::int64_t sizeBytes = 0;   // of all blobs
  std::int64_t layerBytes = 0;  // of the layer that the sandbox wrote
  WallTime at{};
};

// `state`, `reason` and `message` are as a client sees them: `unknown` while the host cannot be heard and `deleting` once
// deletion is wanted are derived by the store when it reads, so that the last real observation is never overwritten.
struct SandboxRecord {
  SandboxId id;
  TenantId tenantId;
  ClusterId clusterId;
  HostId hostId;  // empty while it waits for a host, and while it is archived
  std::string name;
  BlueprintId blueprintId;
  SandboxSpec spec;
  DesiredState desired = DesiredState::kRunning;
  SandboxState state = SandboxState::kRequested;
  std::string reason;
  std::string message;
  std::optional<ExitInfo> exit;
  std::int64_t generation = 1;
  std::int64_t observedGeneration = 0;
  std::int64_t sequence = 0;
  Millis stopGrace{10'000};
  std::int64_t rootGeneration = 0;  // in which a fresh root file system was asked for last; 0: never since creation
  std::int64_t restarts = 0;        // by its restart policy, in the observed generation
  SandboxDemands demands;
  std::optional<WallTime> expiresAt;  // it is deleted then; none: never
  Seconds idleStop{0};                // it is stopped after this long without a session; 0: never
  std::optional<WallTime> activeAt;   // the last sign of use: creation, start, a session's beginning or end
  std::string desiredBy;              // who wished the present desired state: usr_…/key_… or "system (ttl)"; an audit actor
  std::string exitBy;                 // who ended the last run, where somebody did
  std::optional<WallTime> startedAt;
  std::optional<SandboxArchive> archive;
  UserId createdBy;
  WallTime createdAt{};
  WallTime updatedAt{};
  std::int64_t version = 1;
};

// Names one creation, whatever becomes of its answer: a second request with it is the same request.
struct RepeatKey {
  std::string name;  // the client's
  Digest request;    // of what was asked; another request under the same name is a mistake
};
inline constexpr Millis kRepeatKeyLifetime = std::chrono::hours(24);

// Who asks: the identity behind an API key, made by the authenticator only; or the server itself, for a deadline that
// somebody set earlier.
struct Actor {
  TenantId tenantId;
  UserId userId;
  ApiKeyId apiKeyId;
  Role role = Role::kViewer;
  std::string_view system{};  // kTtlActor or kIdleActor; empty: a person
};
inline constexpr std::string_view kTtlActor = "system (ttl)";
inline constexpr std::string_view kIdleActor = "system (idle)";

struct AuditRecord {
  std::int64_t id = 0;
  TenantId tenantId;
  std::string actor;    // usr_…/key_…, hst_…, or "system"
  std::string action;   // "sandbox.create"
  std::string subject;  // id of what it was done to
  std::string detail;   // one line, no secrets
  WallTime at{};
};

// A page of a list: items after `cursor`, and the cursor for the next page when there is more.
template <class T>
struct Page {
  std::vector<T> items;
  std::string nextCursor;
};
struct PageRequest {
  std::int64_t limit = 50;
  std::string cursor;  // opaque; from the page before
};

}  // namespace gs

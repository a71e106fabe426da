#include "base/secret.h"
#include "server/core/names.h"
#include "server/store/event_rows.h"
#include "server/store/host_rows.h"
#include "server/store/sql_store.h"
#include "wire/messages.h"

namespace gs {
namespace {

using namespace sql;

// An expired certificate may be renewed for 30 days; one that is past that can never be used again.
constexpr Millis kKeepExpired = std::chrono::days(31);

Result<std::string> freeHostName(Database& db, const TenantId& tenant, std::string_view wanted) {
  const std::string base = asResourceName(wanted, "host");
  for (int n = 1;; ++n) {
    const std::string name = withSuffix(base, n == 1 ? "" : fmt::format("-{}", n));
    GS_TRY(const auto taken,
           db.queryOne("SELECT 1 FROM host WHERE tenant_id = $1 AND name = $2 AND removed_at IS NULL",
                       {bind(tenant), name}, [](const Row& row) { return row.integer(0); }));
    if (!taken) return name;
  }
}

Error tokenRefused(std::string_view reason, std::string message) {
  return makeError(ErrorCode::kUnauthenticated, std::move(message))
      .withReason(std::string(reason))
      .withFix("make a new provisioning token (gstacks token create)");
}

struct TokenRow {
  TenantId tenantId;
  ClusterId clusterId;
  std::string secretHash;
  std::int64_t usesLeft = 0;
  WallTime expiresAt{};
  bool revoked = false;
};

Result<TokenRow> checkToken(Database& db, const Store::Enrollment& e) {
  GS_TRY(auto found, db.queryOne("SELECT tenant_id, cluster_id, secret_hash, max_uses - uses, expires_at, revoked_at "
                                 "FROM provisioning_token WHERE id = $1",
                                 {bind(e.tokenId)}, [](const Row& row) {
                                   return TokenRow{TenantId::trusted(row.text(0)), ClusterId::trusted(row.text(1)),
                                                   row.text(2), row.integer(3), timeAt(row, 4), !row.isNull(5)};
                                 }));
  // An unknown id is compared as well, so that it takes as long as a wrong secret and reads the same.
  const std::string expected = found ? found->secretHash : std::string(e.secretHash.size(), '\0');
  if (!constantTimeEqual(expected, e.secretHash) || !found) {
    return fail(tokenRefused("token_unknown", "the provisioning token is not known"));
  }
  if (found->revoked) return fail(tokenRefused("token_revoked", "the provisioning token was revoked"));
  if (e.now >= found->expiresAt) {
    return fail(tokenRefused("token_expired",
                             "the provisioning token expired at " + formatTime(found->expiresAt)));
  }
  if (found->usesLeft <= 0) return fail(tokenRefused("token_exhausted", "the provisioning token has no uses left"));
  return std::move(*found);
}

Status insertCertificateRow(Database& db, const CertificateRecord& certificate) {
  GS_CHECK(db.execute("INSERT INTO host_certificate (serial, host_id, not_after, revoked_at) VALUES ($1, $2, $3, $4)",
                      {certificate.serialHex, bind(certificate.hostId), bind(certificate.notAfter),
                       bind(certificate.revokedAt)}));
  return {};
}

Status insertHostRow(Database& db, const Store::Enrollment& e, const TokenRow& token, const std::string& name) {
  GS_CHECK(db.execute(
      "INSERT INTO host (id, tenant_id, cluster_id, name, state, disconnect_reason, epoch, protocol, features, facts, "
      "memory_available_bytes, disk_free_bytes, uptime_seconds, load1_milli, load5_milli, load15_milli, "
      "agent_rss_bytes, sandboxes_running, tags, created_at, version) "
      "VALUES ($1, $2, $3, $4, 'disconnected', '', 0, 0, '[]', $5, 0, 0, 0, 0, 0, 0, 0, 0, '[]', $6, 1)",
      {bind(e.hostId), bind(token.tenantId), bind(token.clusterId), name, Blob{encode(e.facts)}, bind(e.now)}));
  return {};
}

// 0 rows: the host is unknown or removed.
Status orRevoked(const Result<std::int64_t>& done, const HostId& id) {
  if (!done) return fail(done.error());
  if (*done == 0) return fail(hostRevoked(id));
  return {};
}

}  // namespace

Task<Result<HostRecord>> SqlStore::enrollHost(Enrollment enrollment) {
  return thread_.transact([e = std::move(enrollment)](Database& db) -> Result<HostRecord> {
    GS_TRY(const TokenRow token, checkToken(db, e));
    GS_CHECK(db.execute("UPDATE provisioning_token SET uses = uses + 1 WHERE id = $1", {bind(e.tokenId)}));
    GS_TRY(const std::string name, freeHostName(db, token.tenantId, e.wantedName));
    GS_CHECK(insertHostRow(db, e, token, name));
    GS_CHECK(insertCertificateRow(db, e.certificate));
    GS_CHECK(audit(db, token.tenantId, e.hostId.text(),
                   {"host.enroll", e.hostId.text(), fmt::format("{} with {}", name, e.tokenId)}, e.now));
    return readHost(db, token.tenantId, e.hostId);
  });
}

Task<Status> SqlStore::insertCertificate(CertificateRecord certificate) {
  return thread_.transact([certificate = std::move(certificate), now = clock_.wallNow()](Database& db) -> Status {
    GS_TRY(const auto host, findHost(db, certificate.hostId));
    if (!host || host->state == HostState::kRevoked) return fail(hostRevoked(certificate.hostId));
    GS_CHECK(db.execute("DELETE FROM host_certificate WHERE host_id = $1 AND not_after < $2",
                        {bind(certificate.hostId), bind(now - kKeepExpired)}));
    return insertCertificateRow(db, certificate);
  });
}

Task<Result<HostRecord>> SqlStore::authenticateHost(HostId id, std::string serialHex) {
  return thread_.run([id = std::move(id), serial = std::move(serialHex)](Database& db) -> Result<HostRecord> {
    GS_TRY(const auto revoked,
           db.queryOne("SELECT revoked_at FROM host_certificate WHERE serial = $1 AND host_id = $2", {serial, bind(id)},
                       [](const Row& row) { return !row.isNull(0); }));
    GS_TRY(auto host, findHost(db, id));
    if (!revoked || !host) {
      return fail(makeError(ErrorCode::kUnauthenticated, "the host certificate is not known here")
                      .withReason("certificate_unknown")
                      .withFix("enroll the machine anew with a provisioning token"));
    }
    if (*revoked || host->state == HostState::kRevoked) return fail(hostRevoked(id));
    return std::move(*host);
  });
}

Task<Result<std::int64_t>> SqlStore::linkUp(LinkUp up) {
  return thread_.transact([up = std::move(up)](Database& db) -> Result<std::int64_t> {
    GS_TRY(const auto host, findHost(db, up.hostId));
    if (!host || host->state == HostState::kRevoked) return fail(hostRevoked(up.hostId));
    // The clock is in it so that a database restored from a backup does not hand out epochs that the agent has passed.
    const std::int64_t epoch = std::max(host->epoch + 1, toUnixMillis(up.now));
    std::vector<SqlValue> values{bind(up.hostId), epoch, up.protocol, packStrings(up.features),
                                 Blob{encode(up.facts)}, bind(up.now)};
    appendTelemetry(values, up.telemetry);
    GS_CHECK(db.execute("UPDATE host SET state = 'connected', disconnect_reason = '', epoch = $2, protocol = $3, "
                        "features = $4, facts = $5, connected_at = $6, last_seen_at = $6, " +
                            telemetryAssignments(7) + " WHERE id = $1",
                        values));
    // A link that replaces another changes nothing that anybody sees.
    if (host->state != HostState::kConnected) {
      GS_CHECK(recordHostHeard(db, *host, SandboxEventKind::kHostConnected, up.hostId.text(), "", up.now));
    }
    return epoch;
  });
}

// `now` is not when the host was last seen: that was its last message. So last_seen_at stays.
Task<Status> SqlStore::linkDown(HostId id, std::int64_t epoch, std::string reason, WallTime now) {
  return thread_.transact([id = std::move(id), epoch, reason = std::move(reason), now](Database& db) -> Status {
    GS_TRY(const auto changed, db.execute("UPDATE host SET state = 'disconnected', disconnect_reason = $1 "
                                          "WHERE id = $2 AND epoch = $3 AND state = 'connected'",
                                          {reason, bind(id), epoch}));
    if (changed == 0) return {};
    GS_TRY(const auto host, findHost(db, id));
    return host ? recordHostHeard(db, *host, SandboxEventKind::kHostDisconnected, kSystemActor, reason, now) : Status{};
  });
}

Task<Status> SqlStore::markAllDisconnected(WallTime now) {
  return thread_.transact([now](Database& db) -> Status {
    GS_CHECK(recordAllUnheard(db, now));
    GS_CHECK(db.execute("UPDATE host SET state = 'disconnected', disconnect_reason = 'server_restarted' "
                        "WHERE state = 'connected'"));
    return {};
  });
}

Task<Status> SqlStore::recordTelemetry(HostId id, HostTelemetry telemetry, WallTime now) {
  return thread_.transact([id = std::move(id), telemetry, now](Database& db) -> Status {
    std::vector<SqlValue> values{bind(id), bind(now)};
    appendTelemetry(values, telemetry);
    return orRevoked(db.execute("UPDATE host SET last_seen_at = $2, " + telemetryAssignments(3) +
                                    " WHERE id = $1 AND removed_at IS NULL",
                                values),
                     id);
  });
}

Task<Status> SqlStore::recordFacts(HostId id, HostFacts facts, WallTime now) {
  return thread_.transact([id = std::move(id), facts = std::move(facts), now](Database& db) -> Status {
    return orRevoked(db.execute("UPDATE host SET facts = $1, last_seen_at = $2 WHERE id = $3 AND removed_at IS NULL",
                                {Blob{encode(facts)}, bind(now), bind(id)}),
                     id);
  });
}

Task<Status> SqlStore::flagDuplicateIdentity(HostId id, WallTime now) {
  return thread_.transact([id = std::move(id), now](Database& db) -> Status {
    GS_TRY(const auto host, findHost(db, id));
    if (!host || host->state == HostState::kRevoked) return {};
    GS_CHECK(db.execute("UPDATE host SET duplicate_since = COALESCE(duplicate_since, $1), duplicate_seen_at = $1, "
                        "version = version + $2 WHERE id = $3",
                        {bind(now), std::int64_t{host->duplicateSince ? 0 : 1}, bind(id)}));
    if (host->duplicateSince) return {};
    return audit(db, host->tenantId, "system", {"host.duplicate_identity", id.text(), host->name}, now);
  });
}

Task<Status> SqlStore::clearDuplicateIdentities(WallTime before) {
  return thread_.transact([before, now = clock_.wallNow()](Database& db) -> Status {
    std::vector<HostRecord> quiet;
    GS_CHECK(db.query(kHostSelect + "h.duplicate_since IS NOT NULL AND h.duplicate_seen_at < $1", {bind(before)},
                      [&](const Row& row) { quiet.push_back(hostFrom(row)); }));
    for (const auto& host : quiet) {
      GS_CHECK(db.execute("UPDATE host SET duplicate_since = NULL, duplicate_seen_at = NULL, version = version + 1 "
                          "WHERE id = $1",
                          {bind(host.id)}));
      GS_CHECK(audit(db, host.tenantId, "system", {"host.identity_unique", host.id.text(), host.name}, now));
    }
    return {};
  });
}

}  // namespace gs

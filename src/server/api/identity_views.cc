#include <nlohmann/json.hpp>

#include "server/api/views.h"

namespace gs::view {

Json identity(const Identity& who, const Actor& actor) {
  return {{"tenant", {{"id", who.tenant.id.text()}, {"name", who.tenant.name}}},
          {"user", {{"id", who.user.id.text()}, {"email", who.user.email}}},
          {"role", roleName(actor.role)},
          {"apiKeyId", actor.apiKeyId.text()}};
}

Json cluster(const ClusterRecord& record) {
  return {{"id", record.id.text()},
          {"name", record.name},
          {"kind", record.kind == ClusterKind::kManaged ? "managed" : "byo"},
          {"isDefault", record.isDefault},
          {"hostCount", record.hostCount},
          {"createdAt", formatTime(record.createdAt)},
          {"version", record.version}};
}

Json token(const TokenRecord& record, WallTime now) {
  Json out{{"id", record.id.text()},
           {"clusterId", record.clusterId.text()},
           {"state", tokenStateName(record, now)},
           {"maxUses", record.maxUses},
           {"uses", record.uses},
           {"expiresAt", formatTime(record.expiresAt)},
           {"createdAt", formatTime(record.createdAt)}};
  if (!record.name.empty()) out["name"] = record.name;
  if (record.revokedAt) out["revokedAt"] = formatTime(*record.revokedAt);
  return out;
}

Json apiKey(const ApiKeyRecord& record) {
  Json out{{"id", record.id.text()},
           {"name", record.name},
           {"role", roleName(record.role)},
           {"userId", record.userId.text()},
           {"createdAt", formatTime(record.createdAt)}};
  if (record.lastUsedAt) out["lastUsedAt"] = formatTime(*record.lastUsedAt);
  if (record.revokedAt) out["revokedAt"] = formatTime(*record.revokedAt);
  return out;
}

}  // namespace gs::view

// Records as the JSON that the contract shows. Pure; one function a schema. Secrets are not in records, so not here.
//
// What hosts and images say about themselves is foreign text: it is cut to the contract's lengths, and left out where it
// has not the contract's form.
#pragma once

#include "base/json.h"
#include "server/core/records.h"
#include "server/identity/identity_service.h"
#include "server/sandboxes/sandbox_service.h"

namespace gs::view {

[[nodiscard]] Json identity(const Identity& identity, const Actor& actor);
[[nodiscard]] Json cluster(const ClusterRecord& record);
[[nodiscard]] Json token(const TokenRecord& record, WallTime now);
[[nodiscard]] Json apiKey(const ApiKeyRecord& record);
[[nodiscard]] Json host(const HostRecord& record);
[[nodiscard]] Json blueprint(const BlueprintRecord& record);
[[nodiscard]] Json sandbox(const SandboxRecord& record);
// "KILL"; "RTMIN+3".
[[nodiscard]] std::string signalText(int signal);
[[nodiscard]] Json session(const SessionInfo& info, WallTime now);
[[nodiscard]] Json auditEntry(const AuditRecord& record);
[[nodiscard]] Json sandboxEvent(const SandboxEventRecord& record);
[[nodiscard]] Json placement(const PlacementReport& report);

// A page through one of the above.
template <class T, class View>
[[nodiscard]] std::vector<Json> items(const Page<T>& page, View view) {
  std::vector<Json> out;
  out.reserve(page.items.size());
  for (const auto& item : page.items) out.push_back(view(item));
  return out;
}

}  // namespace gs::view

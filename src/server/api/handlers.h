// One function for each operation of the contract, named like it. One source a collection.
//
// A handler may rely on what api.h lists: the actor has the role, parameters and body fit the contract. It answers with a
// response or an Error; headers that every answer has are added by the pipeline.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "server/api/api.h"

namespace gs {

using ApiHandler = Task<Result<HttpResponse>> (*)(Api&, ApiCall&);

// By operationId.
[[nodiscard]] const std::vector<std::pair<std::string_view, ApiHandler>>& apiHandlers();

// Between TERM and KILL where a body does not say: StopSandboxRequest of the contract.
inline constexpr std::int64_t kDefaultGraceMs = 10'000;

#define GS_HANDLER(name) Task<Result<HttpResponse>> name(Api& api, ApiCall& call)
namespace handlers {
// system_api.cc
GS_HANDLER(getHealth);
GS_HANDLER(getVersion);
GS_HANDLER(whoami);
GS_HANDLER(getOpenApi);
// cluster_api.cc
GS_HANDLER(listClusters);
GS_HANDLER(createCluster);
GS_HANDLER(getCluster);
GS_HANDLER(updateCluster);
GS_HANDLER(deleteCluster);
// host_api.cc
GS_HANDLER(listHosts);
GS_HANDLER(getHost);
GS_HANDLER(updateHost);
GS_HANDLER(drainHost);
GS_HANDLER(deleteHost);
// adoption_api.cc
GS_HANDLER(listAdoptable);
GS_HANDLER(adoptSandbox);
GS_HANDLER(confirmDeletions);
GS_HANDLER(rejectDeletions);
// token_api.cc
GS_HANDLER(listTokens);
GS_HANDLER(createToken);
GS_HANDLER(getToken);
GS_HANDLER(revokeToken);
// api_key_api.cc
GS_HANDLER(listApiKeys);
GS_HANDLER(createApiKey);
GS_HANDLER(revokeApiKey);
// blueprint_api.cc
GS_HANDLER(listBlueprints);
GS_HANDLER(createBlueprint);
GS_HANDLER(getBlueprint);
GS_HANDLER(deleteBlueprint);
// sandbox_api.cc
GS_HANDLER(listSandboxes);
GS_HANDLER(createSandbox);
GS_HANDLER(explainPlacement);
GS_HANDLER(getSandbox);
GS_HANDLER(setSandboxLifetime);
GS_HANDLER(startSandbox);
GS_HANDLER(stopSandbox);
GS_HANDLER(deleteSandbox);
// event_api.cc
GS_HANDLER(listSandboxEvents);
GS_HANDLER(streamEvents);
// log_api.cc
GS_HANDLER(streamSandboxLogs);
// sandbox_root_api.cc
GS_HANDLER(reprovisionSandbox);
GS_HANDLER(archiveSandbox);
GS_HANDLER(restoreSandbox);
// session_api.cc
GS_HANDLER(openSession);
GS_HANDLER(listSessions);
GS_HANDLER(closeSession);
GS_HANDLER(createAttachTicket);
// file_api.cc
GS_HANDLER(readFile);
GS_HANDLER(writeFile);
GS_HANDLER(removeFile);
GS_HANDLER(statFile);
GS_HANDLER(listFiles);
GS_HANDLER(makeDirectory);
GS_HANDLER(readFileTree);
GS_HANDLER(writeFileTree);
// audit_api.cc
GS_HANDLER(listAudit);
}  // namespace handlers
#undef GS_HANDLER

}  // namespace gs

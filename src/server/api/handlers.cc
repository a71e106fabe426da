#include "server/api/handlers.h"

namespace gs {

const std::vector<std::pair<std::string_view, ApiHandler>>& apiHandlers() {
  using namespace handlers;
  static const std::vector<std::pair<std::string_view, ApiHandler>> kHandlers{
      {"getHealth", getHealth},
      {"getVersion", getVersion},
      {"whoami", whoami},
      {"getOpenApi", getOpenApi},
      {"listClusters", listClusters},
      {"createCluster", createCluster},
      {"getCluster", getCluster},
      {"updateCluster", updateCluster},
      {"deleteCluster", deleteCluster},
      {"listHosts", listHosts},
      {"getHost", getHost},
      {"updateHost", updateHost},
      {"drainHost", drainHost},
      {"deleteHost", deleteHost},
      {"listAdoptable", listAdoptable},
      {"adoptSandbox", adoptSandbox},
      {"confirmDeletions", confirmDeletions},
      {"rejectDeletions", rejectDeletions},
      {"listTokens", listTokens},
      {"createToken", createToken},
      {"getToken", getToken},
      {"revokeToken", revokeToken},
      {"listApiKeys", listApiKeys},
      {"createApiKey", createApiKey},
      {"revokeApiKey", revokeApiKey},
      {"listBlueprints", listBlueprints},
      {"createBlueprint", createBlueprint},
      {"getBlueprint", getBlueprint},
      {"deleteBlueprint", deleteBlueprint},
      {"listSandboxes", listSandboxes},
      {"createSandbox", createSandbox},
      {"explainPlacement", explainPlacement},
      {"getSandbox", getSandbox},
      {"setSandboxLifetime", setSandboxLifetime},
      {"startSandbox", startSandbox},
      {"stopSandbox", stopSandbox},
      {"deleteSandbox", deleteSandbox},
      {"listSandboxEvents", listSandboxEvents},
      {"streamEvents", streamEvents},
      {"reprovisionSandbox", reprovisionSandbox},
      {"archiveSandbox", archiveSandbox},
      {"restoreSandbox", restoreSandbox},
      {"openSession", openSession},
      {"readFile", readFile},
      {"writeFile", writeFile},
      {"removeFile", removeFile},
      {"statFile", statFile},
      {"listFiles", listFiles},
      {"makeDirectory", makeDirectory},
      {"readFileTree", readFileTree},
      {"writeFileTree", writeFileTree},
      {"listAudit", listAudit},
  };
  return kHandlers;
}

}  // namespace gs

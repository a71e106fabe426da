#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {
namespace {

HttpResponse clusterReply(int status, const ClusterRecord& record) {
  return withETag(jsonReply(status, view::cluster(record)), record.version);
}

}  // namespace

Task<Result<HttpResponse>> listClusters(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto page, co_await api.parts().hosts.listClusters(call.actor, call.page()));
  co_return listReply(view::items(page, view::cluster), page.nextCursor);
}

Task<Result<HttpResponse>> createCluster(Api& api, ApiCall& call) {
  const auto kind = call.body().at("kind") == "managed" ? ClusterKind::kManaged : ClusterKind::kByo;
  const auto name = call.body().at("name").get<std::string>();
  GS_CO_TRY(const auto cluster, co_await api.parts().hosts.createCluster(call.actor, name, kind));
  co_return withLocation(clusterReply(201, cluster), "/api/clusters/" + cluster.id.text());
}

Task<Result<HttpResponse>> getCluster(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto cluster, co_await api.parts().hosts.getCluster(call.actor, call.id<ClusterId>("clusterId")));
  co_return clusterReply(200, cluster);
}

Task<Result<HttpResponse>> updateCluster(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto cluster,
            co_await api.parts().hosts.renameCluster(call.actor, call.id<ClusterId>("clusterId"),
                                                     call.body().at("name").get<std::string>(), call.expectedVersion()));
  co_return clusterReply(200, cluster);
}

Task<Result<HttpResponse>> deleteCluster(Api& api, ApiCall& call) {
  GS_CO_CHECK(co_await api.parts().hosts.deleteCluster(call.actor, call.id<ClusterId>("clusterId")));
  co_return emptyReply();
}

}  // namespace gs::handlers

#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {
namespace {

HttpResponse hostReply(const HostRecord& record) {
  return withETag(jsonReply(200, view::host(record)), record.version);
}

Store::HostUpdate updateFrom(const Json& body) {
  Store::HostUpdate update;
  if (const auto name = body.find("name"); name != body.end()) update.name = name->get<std::string>();
  if (const auto tags = body.find("tags"); tags != body.end()) {
    update.tags = tags->get<std::map<std::string, std::string>>();
  }
  if (const auto cordoned = body.find("cordoned"); cordoned != body.end()) update.cordoned = cordoned->get<bool>();
  return update;
}

}  // namespace

Task<Result<HttpResponse>> listHosts(Api& api, ApiCall& call) {
  std::optional<ClusterId> cluster;
  if (const auto id = call.query().find("clusterId"); id != call.query().end()) {
    cluster = ClusterId::trusted(id->get<std::string>());
  }
  GS_CO_TRY(const auto page, co_await api.parts().hosts.listHosts(call.actor, std::move(cluster), call.page()));
  co_return listReply(view::items(page, view::host), page.nextCursor);
}

Task<Result<HttpResponse>> getHost(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto host, co_await api.parts().hosts.getHost(call.actor, call.id<HostId>("hostId")));
  co_return hostReply(host);
}

Task<Result<HttpResponse>> updateHost(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto host, co_await api.parts().hosts.updateHost(call.actor, call.id<HostId>("hostId"),
                                                                   updateFrom(call.body()), call.expectedVersion()));
  api.parts().sandboxes.wakeWaiters();  // tags or an uncordoned host may be what a sandbox waits for
  co_return hostReply(host);
}

Task<Result<HttpResponse>> drainHost(Api& api, ApiCall& call) {
  const Millis grace(call.body().value("graceMs", kDefaultGraceMs));
  GS_CO_TRY(const auto host, co_await api.parts().sandboxes.drain(call.actor, call.id<HostId>("hostId"), grace));
  co_return jsonReply(202, view::host(host));
}

Task<Result<HttpResponse>> deleteHost(Api& api, ApiCall& call) {
  const auto mode = call.query().value("force", false) ? Store::RemoveHost::kAlsoWithSandboxes
                                                       : Store::RemoveHost::kOnlyWhenEmpty;
  GS_CO_CHECK(co_await api.parts().hosts.removeHost(call.actor, call.id<HostId>("hostId"), mode));
  api.parts().sandboxes.wakeWaiters();
  co_return emptyReply();
}

}  // namespace gs::handlers

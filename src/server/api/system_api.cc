#include <nlohmann/json.hpp>

#include "base/version.h"
#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {

Task<Result<HttpResponse>> getHealth(Api& api, ApiCall&) {
  GS_CO_CHECK(co_await api.parts().health.check());
  co_return jsonReply(200, {{"status", "ok"}});
}

Task<Result<HttpResponse>> getVersion(Api&, ApiCall&) { co_return jsonReply(200, {{"version", versionString()}}); }

Task<Result<HttpResponse>> whoami(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto who, co_await api.parts().identity.whoami(call.actor));
  co_return jsonReply(200, view::identity(who, call.actor));
}

Task<Result<HttpResponse>> getOpenApi(Api& api, ApiCall&) {
  HttpResponse response;
  response.headers.set("Content-Type", "application/json");
  response.body = api.contract().text();
  co_return response;
}

}  // namespace gs::handlers

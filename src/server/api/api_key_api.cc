#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {

Task<Result<HttpResponse>> listApiKeys(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto page, co_await api.parts().identity.listApiKeys(call.actor, call.page()));
  co_return listReply(view::items(page, view::apiKey), page.nextCursor);
}

Task<Result<HttpResponse>> createApiKey(Api& api, ApiCall& call) {
  GS_CO_TRY(const Role role, parseRole(call.body().value("role", "member")));
  GS_CO_TRY(const auto created, co_await api.parts().identity.createApiKey(
                                    call.actor, call.body().at("name").get<std::string>(), role));
  Json shown = view::apiKey(created.record);
  shown["key"] = created.key.reveal();
  co_return jsonReply(201, shown);
}

Task<Result<HttpResponse>> revokeApiKey(Api& api, ApiCall& call) {
  GS_CO_CHECK(co_await api.parts().identity.revokeApiKey(call.actor, call.id<ApiKeyId>("apiKeyId")));
  co_return emptyReply();
}

}  // namespace gs::handlers

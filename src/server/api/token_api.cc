#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {

Task<Result<HttpResponse>> listTokens(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto page, co_await api.parts().identity.listTokens(call.actor, call.page()));
  const WallTime now = api.parts().identity.now();
  co_return listReply(view::items(page, [now](const TokenRecord& each) { return view::token(each, now); }),
                      page.nextCursor);
}

Task<Result<HttpResponse>> createToken(Api& api, ApiCall& call) {
  IdentityService::TokenWish wish;
  wish.clusterId = ClusterId::trusted(call.body().at("clusterId").get<std::string>());
  wish.name = call.body().value("name", "");
  wish.maxUses = call.body().value("maxUses", wish.maxUses);
  wish.life = std::chrono::seconds(call.body().value("expiresInSeconds", std::int64_t{3600}));
  GS_CO_TRY(const auto created, co_await api.parts().identity.createToken(call.actor, std::move(wish)));
  Json shown = view::token(created.record, api.parts().identity.now());
  shown["token"] = created.token.reveal();
  co_return withLocation(jsonReply(201, shown), "/api/provisioning-tokens/" + created.record.id.text());
}

Task<Result<HttpResponse>> getToken(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto token, co_await api.parts().identity.getToken(call.actor, call.id<TokenId>("tokenId")));
  co_return jsonReply(200, view::token(token, api.parts().identity.now()));
}

Task<Result<HttpResponse>> revokeToken(Api& api, ApiCall& call) {
  GS_CO_CHECK(co_await api.parts().identity.revokeToken(call.actor, call.id<TokenId>("tokenId")));
  co_return emptyReply();
}

}  // namespace gs::handlers

#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/request_reader.h"
#include "server/api/views.h"

namespace gs::handlers {
namespace {

// "sha-256=:<base64>:", whose form the contract has checked.
Result<Digest> expectedDigest(const ApiCall& call) {
  constexpr std::string_view kPrefix = "sha-256=:";
  const auto found = call.headers.find("Content-Digest");
  if (found == call.headers.end()) return Digest();
  GS_TRY(const auto raw, fromBase64(std::string_view(found->second).substr(kPrefix.size(), 44)));
  return Digest::fromRaw(raw);
}

}  // namespace

Task<Result<HttpResponse>> listBlueprints(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto page, co_await api.parts().blueprints.list(call.actor, call.page()));
  co_return listReply(view::items(page, view::blueprint), page.nextCursor);
}

Task<Result<HttpResponse>> createBlueprint(Api& api, ApiCall& call) {
  GS_CO_TRY(auto expected, expectedDigest(call));
  BoundedBody body(call.bodyReader, call.operation->maxBodyBytes);
  GS_CO_TRY(const auto blueprint,
            co_await api.parts().blueprints.create(call.actor, call.query().at("name").get<std::string>(), body,
                                                   std::move(expected)));
  co_return withLocation(jsonReply(201, view::blueprint(blueprint)), "/api/blueprints/" + blueprint.id.text());
}

Task<Result<HttpResponse>> getBlueprint(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto blueprint, co_await api.parts().blueprints.get(call.actor, call.id<BlueprintId>("blueprintId")));
  co_return jsonReply(200, view::blueprint(blueprint));
}

Task<Result<HttpResponse>> deleteBlueprint(Api& api, ApiCall& call) {
  GS_CO_CHECK(co_await api.parts().blueprints.remove(call.actor, call.id<BlueprintId>("blueprintId")));
  co_return emptyReply();
}

}  // namespace gs::handlers

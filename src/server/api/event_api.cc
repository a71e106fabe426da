#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {

Task<Result<HttpResponse>> listSandboxEvents(Api& api, ApiCall& call) {
  SandboxEventQuery query;
  query.sandbox = call.id<SandboxId>("sandboxId");
  query.after = call.query().value("after", std::int64_t{0});
  query.limit = call.page().limit;
  GS_CO_TRY(const auto slice, co_await api.parts().sandboxes.events(call.actor, std::move(query)));
  Json items = Json::array();
  for (const auto& event : slice.items) items.push_back(view::sandboxEvent(event));
  Json out{{"items", std::move(items)}};
  if (slice.prunedThrough > 0) out["prunedThrough"] = slice.prunedThrough;
  co_return jsonReply(200, out);
}

}  // namespace gs::handlers

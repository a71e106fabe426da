// Operations on a sandbox's root file system.

#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {

Task<Result<HttpResponse>> reprovisionSandbox(Api& api, ApiCall& call) {
  const auto id = call.id<SandboxId>("sandboxId");
  SandboxService::Fresh fresh;
  fresh.grace = Millis(call.body().value("graceMs", kDefaultGraceMs));
  if (const auto blueprint = call.body().find("blueprint"); blueprint != call.body().end()) {
    fresh.blueprint = blueprint->get<std::string>();
  }
  if (const auto key = call.headers.find("Idempotency-Key"); key != call.headers.end()) {
    const Json request{{"reprovision", id.text()}, {"body", call.body()}};
    fresh.repeat = RepeatKey{key->second, Digest::of(canonicalJson(request))};
  }
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.reprovision(call.actor, id, std::move(fresh)));
  co_return jsonReply(202, view::sandbox(sandbox));
}

Task<Result<HttpResponse>> archiveSandbox(Api& api, ApiCall& call) {
  const Millis grace(call.body().value("graceMs", kDefaultGraceMs));
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.archive(call.actor, call.id<SandboxId>("sandboxId"), grace));
  co_return jsonReply(202, view::sandbox(sandbox));
}

Task<Result<HttpResponse>> restoreSandbox(Api& api, ApiCall& call) {
  std::optional<HostId> host;
  if (const auto found = call.body().find("hostId"); found != call.body().end()) host = HostId::trusted(found->get<std::string>());
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.restore(call.actor, call.id<SandboxId>("sandboxId"), std::move(host)));
  co_return jsonReply(202, view::sandbox(sandbox));
}

}  // namespace gs::handlers

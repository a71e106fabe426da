#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/text.h"
#include "server/api/views.h"
#include "server/core/names.h"

namespace gs {
namespace {

constexpr std::size_t kMaxListed = 1000;
constexpr std::size_t kMaxText = 1024;

// What the host says of it is foreign text.
Json adoptable(const AdoptableSandbox& sandbox) {
  const Assignment& assignment = sandbox.held.assignment;
  Json out{{"id", assignment.sandboxId.text()},
           {"name", asResourceName(assignment.spec.name, "sandbox")},
           {"desiredState", desiredStateName(assignment.desired)},
           {"generation", assignment.generation},
           {"blueprintDigest", assignment.spec.manifest.text()}};
  if (sandbox.blueprint) {
    out["blueprint"] = {{"id", sandbox.blueprint->id.text()},
                        {"name", sandbox.blueprint->name},
                        {"digest", sandbox.blueprint->manifestDigest.text()}};
  }
  const auto& seen = sandbox.held.observation;
  out["state"] = sandboxStateName(seen ? seen->state : SandboxState::kUnknown);
  if (!seen) return out;
  if (!seen->message.empty()) out["message"] = cutText(seen->message, kMaxText);
  out["since"] = formatTime(seen->observedAt);
  return out;
}

}  // namespace

Task<Result<HttpResponse>> handlers::listAdoptable(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto found, co_await api.parts().hosts.listAdoptable(call.actor, call.id<HostId>("hostId")));
  std::vector<Json> items;
  for (const auto& each : found) {
    if (items.size() < kMaxListed) items.push_back(adoptable(each));
  }
  co_return listReply(std::move(items), "");
}

Task<Result<HttpResponse>> handlers::adoptSandbox(Api& api, ApiCall& call) {
  const auto id = call.id<SandboxId>("sandboxId");
  GS_CO_TRY(const auto record,
            co_await api.parts().hosts.adopt(call.actor, call.id<HostId>("hostId"), id, call.body().value("name", std::string())));
  api.parts().sandboxes.wakeWaiters();
  co_return jsonReply(201, view::sandbox(record));
}

Task<Result<HttpResponse>> handlers::confirmDeletions(Api& api, ApiCall& call) {
  const auto fence = call.body().at("fence").get<std::string>();
  GS_CO_TRY(const auto released, co_await api.parts().hosts.confirmDeletions(call.actor, call.id<HostId>("hostId"), fence));
  co_return jsonReply(200, Json{{"fence", fence}, {"released", released}});
}

Task<Result<HttpResponse>> handlers::rejectDeletions(Api& api, ApiCall& call) {
  const auto fence = call.body().at("fence").get<std::string>();
  GS_CO_TRY(const auto rejected, co_await api.parts().hosts.rejectDeletions(call.actor, call.id<HostId>("hostId"), fence));
  co_return jsonReply(200, Json{{"fence", fence}, {"rejected", rejected}});
}

}  // namespace gs

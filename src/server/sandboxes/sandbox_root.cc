// What concerns a sandbox's root file system as a whole.

#include "server/core/fault.h"
#include "server/sandboxes/sandbox_service.h"

namespace gs {
namespace {

// What the blueprint and this host say to each other. The sandbox's own demands were met when it came here.
Status checkReplacement(const HostLoad& load, const BlueprintRecord& blueprint) {
  PlacementRequest request;
  request.architecture = blueprint.architecture;
  request.blueprintBytes = static_cast<std::uint64_t>(blueprint.sizeBytes);
  const auto rejection = explainReplacement(request, load);
  if (!rejection) return {};
  Error error = makeError(ErrorCode::kFailedPrecondition,
                          fmt::format("blueprint {} cannot be used on host {}: {}", blueprint.name, rejection->hostName, rejection->detail))
                    .withReason("cannot_reprovision");
  error.fix = rejection->reason == RejectionReason::kWrongArchitecture ? "use a blueprint of the host's architecture"
                                                                       : suggestFix({*rejection});
  error.details = {faultLine("/hosts/" + rejection->host.text(), rejection->detail)};
  return fail(std::move(error));
}

}  // namespace

Task<Result<SandboxRecord>> SandboxService::reprovision(Actor actor, SandboxId id, Fresh fresh) {
  Store::Reprovisioning wish;
  wish.stopGrace = fresh.grace;
  wish.check = checkReplacement;
  wish.repeat = std::move(fresh.repeat);
  if (fresh.blueprint) {
    auto blueprint = co_await store_.findBlueprint(actor.tenantId, *fresh.blueprint);
    if (!blueprint) {
      Error error = std::move(blueprint).error();
      if (error.code == ErrorCode::kNotFound) error.details = {faultLine("/blueprint", error.message)};
      co_return fail(std::move(error));
    }
    wish.blueprint = std::move(*blueprint);
  }
  GS_CO_TRY(auto record, co_await store_.reprovision(std::move(actor), std::move(id), std::move(wish)));
  tellHost(record);
  events_.notify(record.id);
  co_return record;
}

}  // namespace gs

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

Task<Result<SandboxRecord>> SandboxService::archive(Actor actor, SandboxId id, Millis grace) {
  GS_CO_TRY(auto record, co_await store_.archive(std::move(actor), std::move(id), grace));
  tellHost(record);
  events_.notify(record.id);
  co_return record;
}

Task<Result<SandboxRecord>> SandboxService::restore(Actor actor, SandboxId id, std::optional<HostId> host) {
  GS_CO_TRY(const auto record, co_await store_.getSandbox(actor.tenantId, id));
  GS_CO_TRY(const auto blueprint, co_await store_.getBlueprint(actor.tenantId, record.blueprintId));
  // The host that its creator named counts until somebody names another.
  if (!host) host = record.demands.host;
  ClusterId cluster = record.clusterId;
  if (host) {
    auto named = co_await store_.getHost(actor.tenantId, *host);
    if (!named) {
      Error error = std::move(named).error();
      if (error.code == ErrorCode::kNotFound) error.details = {faultLine("/hostId", error.message)};
      co_return fail(std::move(error));
    }
    cluster = named->clusterId;
  }
  PlacementRequest request;
  request.cluster = cluster;
  request.runtime = record.spec.runtime;
  request.architecture = blueprint.architecture;
  request.traits = record.demands.traits;
  request.tags = record.demands.tags;
  request.resources = record.spec.resources;
  request.blueprintBytes = static_cast<std::uint64_t>(record.archive ? record.archive->sizeBytes : blueprint.sizeBytes);
  request.choice = host ? HostChoice::kNamed : HostChoice::kAny;
  request.now = clock_.wallNow();
  request.rules = rules_;
  Store::Placing placing;
  placing.hosts = {cluster, host, record.spec.manifest};
  placing.choose = chooserFor(std::move(request));
  GS_CO_TRY(auto restored, co_await store_.restore(std::move(actor), std::move(id), std::move(placing)));
  tellHost(restored);
  events_.notify(restored.id);
  co_return restored;
}

}  // namespace gs

#include "server/blueprints/blueprint_catalog.h"

#include "base/log.h"

namespace gs {

Task<Result<BlueprintRecord>> BlueprintCatalog::create(Actor actor, std::string name, BodyReader& body, Digest expected) {
  const auto taken = co_await store_.findBlueprint(actor.tenantId, name);
  if (taken) {
    co_return fail(makeError(ErrorCode::kAlreadyExists, fmt::format("the name {} is taken by another blueprint", name))
                       .withReason("name_taken")
                       .withFix("choose another name: a blueprint is immutable"));
  }
  if (taken.error().code != ErrorCode::kNotFound) co_return fail(taken.error());
  GS_CO_TRY(auto record, co_await importer_.import(body, std::move(expected)));
  record.id = BlueprintId::make();
  record.tenantId = actor.tenantId;
  record.name = std::move(name);
  record.createdBy = actor.userId;
  record.createdAt = clock_.wallNow();
  // Blobs without a record (the name was taken meanwhile) are found by the next sweep.
  GS_CO_CHECK(co_await store_.insertBlueprint(std::move(actor), record));
  co_return record;
}

Task<Result<BlueprintRecord>> BlueprintCatalog::get(Actor actor, BlueprintId id) {
  return store_.getBlueprint(std::move(actor.tenantId), std::move(id));
}

Task<Result<Page<BlueprintRecord>>> BlueprintCatalog::list(Actor actor, PageRequest page) {
  return store_.listBlueprints(std::move(actor.tenantId), std::move(page));
}

Task<Status> BlueprintCatalog::remove(Actor actor, BlueprintId id) {
  GS_CO_CHECK(co_await store_.deleteBlueprint(std::move(actor), std::move(id)));
  sweepSoon();
  co_return Status{};
}

void BlueprintCatalog::sweepSoon() { tasks_.spawn("blueprint_sweep", sweep()); }

Task<void> BlueprintCatalog::sweep() {
  auto manifests = co_await store_.allManifests();
  auto status = manifests ? co_await importer_.sweep(std::move(*manifests)) : Status(fail(manifests.error()));
  if (!status) logWarn("blueprint_sweep_failed", {{"error", status.error().describe()}});
}

}  // namespace gs

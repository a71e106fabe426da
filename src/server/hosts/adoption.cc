#include "server/core/names.h"
#include "server/core/sandbox_view.h"
#include "server/hosts/host_service.h"

namespace gs {
namespace {

constexpr Millis kConfirmTime{15'000};

Error notAdoptable(std::string_view reason, std::string message, std::string fix) {
  return makeError(ErrorCode::kFailedPrecondition, std::move(message)).withReason(std::string(reason)).withFix(std::move(fix));
}

SandboxRecord recordOf(const Actor& actor, const HostRecord& host, const BlueprintRecord& blueprint, const HeldSandbox& held, WallTime now) {
  const Assignment& assignment = held.assignment;
  SandboxRecord out;
  out.id = assignment.sandboxId;
  out.tenantId = actor.tenantId;
  out.clusterId = host.clusterId;
  out.hostId = host.id;
  out.blueprintId = blueprint.id;
  out.spec = assignment.spec;
  out.spec.blueprintName = blueprint.name;
  // What was to be archived has stopped, and was kept by a control plane that is no more.
  out.desired = assignment.desired == DesiredState::kRunning ? DesiredState::kRunning : DesiredState::kStopped;
  out.desiredBy = fmt::format("{}/{}", actor.userId, actor.apiKeyId);
  out.stopGrace = assignment.stopGrace;
  out.generation = static_cast<std::int64_t>(assignment.generation) + 1;
  out.rootGeneration = static_cast<std::int64_t>(assignment.rootGeneration);
  out.state = SandboxState::kUnknown;
  if (held.observation) {
    out.state = held.observation->state;
    out.reason = held.observation->reason;
    out.message = held.observation->message;
    out.exit = held.observation->exit;
    out.startedAt = held.observation->startedAt;
    out.observedGeneration = static_cast<std::int64_t>(held.observation->generation);
    out.sequence = static_cast<std::int64_t>(held.observation->sequence);
    out.restarts = held.observation->restarts;
  }
  out.createdBy = actor.userId;
  out.createdAt = now;
  out.updatedAt = now;
  return out;
}

}  // namespace

Task<Result<std::optional<BlueprintRecord>>> HostService::findManifest(TenantId tenant, Digest manifest) {
  auto found = co_await store_.findBlueprint(std::move(tenant), manifest.text());
  if (found) co_return std::optional(std::move(*found));
  if (found.error().code == ErrorCode::kNotFound) co_return std::optional<BlueprintRecord>();
  co_return fail(std::move(found).error());
}

Task<Result<std::vector<AdoptableSandbox>>> HostService::listAdoptable(Actor actor, HostId id) {
  GS_CO_TRY(const auto host, co_await store_.getHost(actor.tenantId, id));
  if (!hub_.isConnected(id)) {
    co_return fail(notAdoptable("host_disconnected", fmt::format("host {} is not connected: nobody can tell what it holds", host.name),
                                "wait until it is back"));
  }
  GS_CO_TRY(const auto known, co_await store_.sandboxesOnHost(id));
  std::vector<AdoptableSandbox> out;
  for (auto& held : hub_.unknownSandboxes(id)) {
    // Adopted since the host told of it.
    if (std::ranges::find(known, held.assignment.sandboxId, &SandboxRecord::id) != known.end()) continue;
    GS_CO_TRY(auto blueprint, co_await findManifest(actor.tenantId, held.assignment.spec.manifest));
    out.push_back({std::move(held), std::move(blueprint)});
  }
  co_return out;
}

Task<Result<SandboxRecord>> HostService::adopt(Actor actor, HostId hostId, SandboxId id, std::string name) {
  GS_CO_TRY(const auto host, co_await store_.getHost(actor.tenantId, hostId));
  if (auto known = co_await store_.getSandbox(actor.tenantId, id); known && known->hostId == hostId) co_return std::move(*known);
  GS_CO_TRY(auto adoptable, co_await listAdoptable(actor, hostId));
  const auto found = std::ranges::find_if(adoptable, [&](const auto& each) { return each.held.assignment.sandboxId == id; });
  if (found == adoptable.end()) {
    co_return fail(ErrorCode::kNotFound, fmt::format("host {} holds no unknown sandbox {}", host.name, id.text()));
  }
  const SandboxSpec& spec = found->held.assignment.spec;
  if (found->held.assignment.desired == DesiredState::kDeleted) {
    co_return fail(notAdoptable("sandbox_deleting", "the host was told to delete the sandbox, and does", "there is nothing to adopt"));
  }
  if (!found->blueprint) {
    co_return fail(notAdoptable("blueprint_missing",
                                fmt::format("the sandbox was made from the blueprint {} ({}), which is not in this tenant", spec.blueprintName,
                                            spec.manifest.text()),
                                "import the archive that it was made from: gstacks blueprint create NAME --archive FILE"));
  }
  SandboxRecord record = recordOf(actor, host, *found->blueprint, found->held, clock_.wallNow());
  if (!name.empty()) record.spec.name = std::move(name);
  record.name = record.spec.name;
  GS_CO_CHECK(checkResourceName("sandbox", record.name));
  if (auto adopted = co_await store_.adoptSandbox(actor, record); !adopted) {
    Error error = std::move(adopted).error();
    if (error.code == ErrorCode::kAlreadyExists && error.reason != "sandbox_known") error.fix = "adopt it under another name";
    co_return fail(std::move(error));
  }
  hub_.sendAssignment(hostId, assignmentOf(record));
  co_return co_await store_.getSandbox(actor.tenantId, id);
}

Task<Status> HostService::auditAnswer(Actor actor, HostId id, std::string action, std::string fence) {
  GS_CO_TRY(const auto host, co_await store_.getHost(actor.tenantId, id));
  AuditRecord line;
  line.tenantId = actor.tenantId;
  line.actor = fmt::format("{}/{}", actor.userId, actor.apiKeyId);
  line.action = std::move(action);
  line.subject = id.text();
  line.detail = fmt::format("{}, fence {}", host.name, fence);
  line.at = clock_.wallNow();
  co_return co_await store_.appendAudit(std::move(line));
}

Task<Result<std::uint32_t>> HostService::confirmDeletions(Actor actor, HostId id, std::string fence) {
  GS_CO_CHECK(co_await auditAnswer(std::move(actor), id, "host.confirm_deletions", fence));
  co_return co_await hub_.confirmDeletions(std::move(id), std::move(fence), Deadline::after(kConfirmTime));
}

Task<Result<std::uint32_t>> HostService::rejectDeletions(Actor actor, HostId id, std::string fence) {
  GS_CO_CHECK(co_await auditAnswer(std::move(actor), id, "host.reject_deletions", fence));
  co_return co_await hub_.rejectDeletions(std::move(id), std::move(fence), Deadline::after(kConfirmTime));
}

}  // namespace gs

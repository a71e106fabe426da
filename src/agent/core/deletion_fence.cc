#include "agent/core/deletion_fence.h"

#include <algorithm>

#include "base/digest.h"

namespace gs {

DeletionFence::Verdict DeletionFence::judge(std::optional<SteadyTime> since, std::size_t present, SteadyTime now) {
  if (!counts(since, now)) return Verdict::kGoesThrough;
  forgetUntil(now - limits_.window);
  wished_.push_back(now);
  const std::size_t hosted = present + gone_.size();
  const std::size_t share = hosted * limits_.percent / 100;
  const std::size_t most = std::max<std::size_t>(share, limits_.atLeast - 1);
  return wished_.size() > most ? Verdict::kHeld : Verdict::kGoesThrough;
}

void DeletionFence::gone(std::optional<SteadyTime> since, SteadyTime now) {
  if (!counts(since, now)) return;
  forgetUntil(now - limits_.window);
  gone_.push_back(now);
}

void DeletionFence::forgetUntil(SteadyTime time) {
  for (auto* moments : {&wished_, &gone_}) {
    while (!moments->empty() && moments->front() <= time) moments->pop_front();
  }
}

std::uint64_t destructionOf(const Assignment& assignment) {
  return assignment.desired == DesiredState::kDeleted ? assignment.generation : assignment.rootGeneration;
}

bool destroysAnew(const Assignment& incoming, const SandboxRecord* present) {
  const bool deletes = incoming.desired == DesiredState::kDeleted;
  if (present == nullptr) return deletes;
  if (deletes) return present->assignment.desired != DesiredState::kDeleted;
  return incoming.rootGeneration > present->assignment.rootGeneration;
}

std::string fenceId(std::vector<HeldDestruction> held) {
  std::ranges::sort(held, {}, [](const HeldDestruction& each) { return each.sandboxId.text(); });
  Hasher hasher;
  for (const auto& each : held) hasher.update(fmt::format("{} {}\n", each.sandboxId.text(), each.generation));
  return hasher.finish().hex().substr(0, 32);
}

Decision decideHeld(const SandboxRecord& record) {
  const bool deletes = record.assignment.desired == DesiredState::kDeleted;
  ObservationDraft draft;
  draft.state = deletes || record.observation.sequence == 0 ? SandboxState::kDeleting : record.observation.state;
  draft.reason = "deletion_held";
  draft.message = fmt::format("{} waits for a confirmation: many sandboxes of this host were to be destroyed at once",
                              deletes ? "the deletion" : "the fresh root file system");
  draft.exit = record.observation.exit;
  Decision decision;
  decision.observe = std::move(draft);
  return decision;
}

}  // namespace gs

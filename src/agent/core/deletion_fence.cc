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

Destruction answerTo(std::uint64_t destruction, const FenceAnswers& answers) {
  if (destruction <= answers.released) return Destruction::kReleased;
  return destruction <= answers.refused ? Destruction::kRefused : Destruction::kHeld;
}

bool destroysAnew(const Assignment& incoming, const SandboxRecord* present, const FenceAnswers& answers) {
  const bool deletes = incoming.desired == DesiredState::kDeleted;
  if (present == nullptr) return deletes;
  const auto before = destructionOf(present->assignment);
  if (deletes && before > 0 && answerTo(before, answers) == Destruction::kRefused) return destructionOf(incoming) > before;
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
  draft.reason = kDeletionHeld;
  draft.message = fmt::format("{} waits for a confirmation: many sandboxes of this host were to be destroyed at once",
                              deletes ? "the deletion" : "the fresh root file system");
  draft.exit = record.observation.exit;
  Decision decision;
  decision.observe = std::move(draft);
  return decision;
}

Decision decideRefused(const SandboxRecord& record, const SandboxFacts& facts) {
  Decision decision;
  if (facts.container == Seen::kUnknown) {
    decision.step = Step::kInspect;
    return decision;
  }
  const bool deletes = record.assignment.desired == DesiredState::kDeleted;
  if (!deletes || facts.container == Seen::kRunning) {
    SandboxRecord spared = record;
    // No fresh root is wanted, and what runs goes on.
    spared.assignment.rootGeneration = 0;
    if (deletes) {
      spared.assignment.desired = DesiredState::kRunning;
      spared.assignment.generation = record.runGeneration;
    }
    decision = decide(spared, facts);
    if (decision.step != Step::kWait) {
      if (deletes) decision.observe.reset();
      return decision;
    }
  } else {
    decision.observe = ObservationDraft{facts.container == Seen::kAbsent ? SandboxState::kDeleting : SandboxState::kStopped, "", "",
                                        record.observation.exit};
  }
  if (decision.observe && decision.observe->reason.empty()) {
    decision.observe->reason = kDeletionRejected;
    decision.observe->message = fmt::format("{} was refused by somebody who looks after its host; it takes another wish",
                                            deletes ? "the deletion" : "the fresh root file system");
  }
  return decision;
}

}  // namespace gs

#include "ledger.h"

#include "server/core/records.h"

namespace gs::sim {

void Ledger::creationAnswered(const SandboxId& id) {
  wishes_[id].acknowledged = true;
  wishes_[id].certain = DesiredState::kRunning;
}

void Ledger::assignmentArrived(const std::string& host, const Assignment& assignment) {
  const auto [it, isNew] = assignments_[assignment.sandboxId].emplace(assignment.generation, assignment.desired);
  if (isNew) simulation_.trace("{} hears {} generation {} {}", host, assignment.sandboxId, assignment.generation, desiredStateName(assignment.desired));
  if (it->second != assignment.desired && restored_) it->second = assignment.desired;
  if (it->second != assignment.desired) {
    simulation_.violate("fence", fmt::format("generation {} of {} means {} and {}", assignment.generation, assignment.sandboxId,
                                             desiredStateName(it->second), desiredStateName(assignment.desired)));
  }
  auto& root = roots_[assignment.sandboxId];
  root = std::max(root, assignment.rootGeneration);
  if (assignment.rootGeneration > 0 && !wishes_[assignment.sandboxId].freshRootAsked) {
    simulation_.violate("authority", fmt::format("{} is told to give {} a fresh root, which nobody asked for", host, assignment.sandboxId));
  }
  const auto adoption = adopted_.find(assignment.sandboxId);
  if (adoption != adopted_.end() && adoption->second.generation == assignment.generation && adoption->second.desired == DesiredState::kRunning &&
      assignment.desired != DesiredState::kRunning && !findWisher_(assignment.sandboxId, assignment.generation)) {
    simulation_.violate("adoption", fmt::format("{} ran, and is adopted as {}", assignment.sandboxId, desiredStateName(assignment.desired)));
  }
  if (isNew || restored_) checkDeadlines(assignment);
  if (assignment.desired == DesiredState::kDeleted && !wishes_[assignment.sandboxId].deletionAsked) {
    simulation_.violate("authority", fmt::format("{} is told to delete {}, which nobody asked for", host, assignment.sandboxId));
  }
}

// What nobody asked for now was asked for in advance, and is not done before its time.
void Ledger::checkDeadlines(const Assignment& assignment) {
  if (assignment.desired != DesiredState::kStopped && assignment.desired != DesiredState::kDeleted) return;
  const auto wisher = findWisher_(assignment.sandboxId, assignment.generation);
  if (!wisher) return;
  if (wisher->actor == kTtlActor) {
    if (const auto why = deadlines.whyNotExpired(wisher->name, wisher->at); !why.empty()) {
      simulation_.violate("deadline", fmt::format("{} is deleted as expired: {}", assignment.sandboxId, why));
    }
    deletionAsked(assignment.sandboxId);
  } else if (wisher->actor == kIdleActor) {
    if (const auto why = deadlines.whyNotIdle(wisher->name, wisher->at); !why.empty()) {
      simulation_.violate("deadline", fmt::format("{} is stopped as idle: {}", assignment.sandboxId, why));
    }
  }
}

bool Ledger::arrived(const SandboxId& id, std::uint64_t generation) const {
  const auto found = assignments_.find(id);
  return found != assignments_.end() && found->second.contains(generation);
}

std::uint64_t Ledger::newestEnd(const SandboxId& id) const {
  std::uint64_t newest = 0;
  const auto found = assignments_.find(id);
  if (found == assignments_.end()) return 0;
  for (const auto& [generation, desired] : found->second) {
    if (desired != DesiredState::kRunning) newest = generation;
  }
  return newest;
}

void Ledger::observationTold(const std::string& host, const Observation& observation) {
  const auto text = fmt::format("generation {} {} {} {}", observation.generation, sandboxStateName(observation.state), observation.reason,
                                observation.message);
  const auto [it, isNew] = told_[{host, observation.sandboxId}].emplace(observation.sequence, text);
  if (isNew) simulation_.trace("{} tells {} sequence {}: {}", host, observation.sandboxId, observation.sequence, text);
  if (it->second != text) {
    simulation_.violate("sequence", fmt::format("{} said of {} under sequence {} first '{}', then '{}'", host, observation.sandboxId,
                                                observation.sequence, it->second, text));
  }
}

void Ledger::databaseRestored() {
  restored_ = true;
  deadlines.databaseRestored();
  stored_.clear();
  everStored_.clear();
  for (auto& [id, wish] : wishes_) {
    wish.acknowledged = false;
    wish.certain.reset();
  }
}

void Ledger::databaseSeen(std::map<SandboxId, Stored> now) {
  for (const auto& [id, before] : stored_) {
    const auto found = now.find(id);
    if (found == now.end()) {
      if (!wishes_[id].deletionAsked) simulation_.violate("nothing lost", fmt::format("{} is gone from the database and nobody deleted it", id));
      continue;
    }
    const auto& after = found->second;
    if (after.generation < before.generation || after.version < before.version ||
        std::pair(after.observedGeneration, after.sequence) < std::pair(before.observedGeneration, before.sequence)) {
      simulation_.violate("no step back", fmt::format("{} went from generation {}, observation ({}, {}) to {}, ({}, {})", id, before.generation,
                                                      before.observedGeneration, before.sequence, after.generation,
                                                      after.observedGeneration, after.sequence));
    }
    if (after.observedGeneration > after.generation && !restored_) {
      simulation_.violate("fence", fmt::format("{} was observed in generation {} before that existed", id, after.observedGeneration));
    }
    // A host may know a later generation than a restored database had when the deletion was wished.
    if (before.desired == DesiredState::kDeleted && after.desired != DesiredState::kDeleted && !restored_) {
      simulation_.violate("fence", fmt::format("the deletion of {} was taken back", id));
    }
  }
  for (const auto& [id, entry] : now) {
    if (everStored_.insert(id).second) continue;
    if (!stored_.contains(id)) simulation_.violate("fence", fmt::format("{} came back into the database", id));
  }
  for (const auto& [id, wish] : wishes_) {
    if (wish.acknowledged && !wish.deletionAsked && !now.contains(id)) {
      simulation_.violate("nothing lost", fmt::format("the creation of {} was answered with success and it is not there", id));
    }
  }
  stored_ = std::move(now);
}

}  // namespace gs::sim

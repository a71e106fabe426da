// What really was asked for and really happened, kept outside of the programs under test, and the rules it must obey.
//
// The programs cannot see it. Whoever plays the user, the engine and the network writes here; each entry is checked at
// once against what is known, so that a rule is broken at a step and not somewhere before the end.
#pragma once

#include <map>
#include <set>

#include "deadlines.h"
#include "simulation.h"
#include "wire/messages.h"

namespace gs::sim {

class Ledger {
 public:
  explicit Ledger(Simulation& simulation) : deadlines(simulation), simulation_(simulation) {}

  Deadlines deadlines;

  struct Wish {
    bool deletionAsked = false;  // a request was made, whatever became of it; or it has expired
    bool acknowledged = false;   // its creation was answered with success
    // The last wish, unless it is not known whether it was taken.
    std::optional<DesiredState> certain;
    bool freshRootAsked = false;  // likewise
    std::set<std::string> excuses;  // reasons of a failure that the world really gave
  };

  // The user's side. Nothing can be created or deleted that does not pass here first.
  void creationAnswered(const SandboxId& id);
  void deletionAsked(const SandboxId& id) { wishes_[id].deletionAsked = true; }
  void freshRootAsked(const SandboxId& id) { wishes_[id].freshRootAsked = true; }
  // It was adopted after a restored database, and is to go on as it is until somebody wishes otherwise.
  void adopted(const Assignment& held) { adopted_[held.sandboxId] = {newestEnd(held.sandboxId), held.generation + 1, held.desired}; }
  [[nodiscard]] bool isAdopted(const SandboxId& id) const { return adopted_.contains(id); }
  [[nodiscard]] bool adoptedAndLeft(const SandboxId& id) const {
    const auto found = adopted_.find(id);
    return found != adopted_.end() && found->second.newestEnd == newestEnd(id);
  }
  void wishAsked(const SandboxId& id) { wishes_[id].certain.reset(); }
  void wishAnswered(const SandboxId& id, DesiredState desired) { wishes_[id].certain = desired; }
  void excuse(const SandboxId& id, std::string reason) { wishes_[id].excuses.insert(std::move(reason)); }
  [[nodiscard]] const std::map<SandboxId, Wish>& wishes() const { return wishes_; }

  // Who made the wish that is of this generation, as the server has recorded it; nothing: it has not.
  struct Wisher {
    std::string name;  // of the sandbox
    std::string actor;
    WallTime at;
  };
  using FindWisher = std::function<std::optional<Wisher>(const SandboxId&, std::uint64_t generation)>;
  void askForWishers(FindWisher find) { findWisher_ = std::move(find); }
  // An assignment reached an agent: one generation is one wish (rule 3), and it must have been recorded by the server.
  void assignmentArrived(const std::string& host, const Assignment& assignment);
  [[nodiscard]] bool arrived(const SandboxId& id, std::uint64_t generation) const;
  // The newest generation that reached any agent and does not want the sandbox to run; 0: none.
  [[nodiscard]] std::uint64_t newestEnd(const SandboxId& id) const;
  // The newest generation in which a fresh root file system was asked for, of those that reached any agent.
  [[nodiscard]] std::uint64_t newestRoot(const SandboxId& id) const {
    const auto found = roots_.find(id);
    return found == roots_.end() ? 0 : found->second;
  }
  [[nodiscard]] bool deletionWanted(const SandboxId& id) const {
    const auto found = wishes_.find(id);
    return found != wishes_.end() && found->second.deletionAsked;
  }
  // A row of the host's journal cannot be read any more: its record begins anew.
  void recordTorn(const std::string& host, const SandboxId& id) {
    recordBegins(host, id);
    torn_.insert(id);
  }
  [[nodiscard]] bool torn(const SandboxId& id) const { return torn_.contains(id); }
  // The server's database was replaced by an older copy: what was promised since is forgotten. Nothing may be destroyed for
  // that, and no host may go back.
  void databaseRestored();
  [[nodiscard]] bool restored() const { return restored_; }
  // The host has no record of the sandbox and takes it on: its sequence begins anew.
  void recordBegins(const std::string& host, const SandboxId& id) { told_.erase({host, id}); }
  // What an agent says to the server: a sequence number has one meaning for ever (rule 1).
  void observationTold(const std::string& host, const Observation& observation);
  // The server's database as it is now.
  struct Stored {
    std::int64_t generation = 0;
    std::int64_t observedGeneration = 0;
    std::int64_t sequence = 0;
    std::int64_t version = 0;
    DesiredState desired = DesiredState::kRunning;
    std::string host;
  };
  void databaseSeen(std::map<SandboxId, Stored> now);
  [[nodiscard]] const std::map<SandboxId, Stored>& stored() const { return stored_; }

 private:
  void checkDeadlines(const Assignment& assignment);

  Simulation& simulation_;
  FindWisher findWisher_;
  std::map<SandboxId, Wish> wishes_;
  std::map<SandboxId, std::map<std::uint64_t, DesiredState>> assignments_;
  std::map<std::pair<std::string, SandboxId>, std::map<std::uint64_t, std::string>> told_;
  std::map<SandboxId, Stored> stored_;
  std::set<SandboxId> everStored_;
  std::set<SandboxId> torn_;
  std::map<SandboxId, std::uint64_t> roots_;
  struct Adoption {
    std::uint64_t newestEnd = 0;   // then
    std::uint64_t generation = 0;  // that it gets by it
    DesiredState desired = DesiredState::kRunning;  // as its host has it
  };
  std::map<SandboxId, Adoption> adopted_;
  bool restored_ = false;
};

}  // namespace gs::sim

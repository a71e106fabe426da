// Destroying many sandboxes at once needs a second, separate confirmation (design §1, §4 rule 4): this decides what waits.
//
// A destruction is a wish that costs a sandbox its root file system: its deletion, or a fresh root for it. Those newly
// wished within a sliding window are counted; what goes beyond the host's limit is held until somebody confirms exactly the
// set that was shown. A sandbox that the host has had for less than the window is not counted and never held: hosts whose
// sandboxes live for seconds destroy all of them every minute, and that is their work. The limit is the host's own
// (agent.yaml); the control plane cannot lift it. Pure; the decision for each sandbox is in the journal (Journal::release),
// the window is not: a restart begins a new one.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "agent/core/sandbox_model.h"

namespace gs {

// What became of the destruction that a sandbox's assignment asks for.
enum class Destruction : std::uint8_t {
  kReleased,  // it goes on, or none is asked for
  kHeld,      // it waits for a person's word
  kRefused,   // a person said no: it is not carried out, and the sandbox goes on, until there is another wish
};

enum class RemoteConfirmation : std::uint8_t { kTaken, kRefused };

struct DeletionFenceLimits {
  std::uint32_t percent = 50;  // 1..100; 100 holds nothing
  std::uint32_t atLeast = 20;  // 1..100,000; fewer than this many in a window are never held
  Millis window{60'000};       // 1 s..24 h
  RemoteConfirmation remote = RemoteConfirmation::kTaken;  // whether the control plane may pass a confirmation on
};

class DeletionFence {
 public:
  explicit DeletionFence(DeletionFenceLimits limits) : limits_(limits) {}

  enum class Verdict : std::uint8_t { kGoesThrough, kHeld };
  // One destruction is newly wished, of a sandbox that the host has had since `since` (absent: from before this agent's
  // start), where it has `present` of them, this one included.
  [[nodiscard]] Verdict judge(std::optional<SteadyTime> since, std::size_t present, SteadyTime now);
  // A sandbox is gone for good. If it counted, it counts as one of the host's for the rest of the window.
  void gone(std::optional<SteadyTime> since, SteadyTime now);

 private:
  [[nodiscard]] bool counts(std::optional<SteadyTime> since, SteadyTime now) const { return !since || now - *since >= limits_.window; }
  void forgetUntil(SteadyTime time);

  DeletionFenceLimits limits_;
  std::deque<SteadyTime> wished_;
  std::deque<SteadyTime> gone_;
};

// The answers that a sandbox had, by the generation of the destruction that they were for; 0: none. What is released stays
// released, and an answer is also one to every destruction before.
struct FenceAnswers {
  std::uint64_t released = 0;
  std::uint64_t refused = 0;
};
[[nodiscard]] Destruction answerTo(std::uint64_t destruction, const FenceAnswers& answers);

// The generation of the destruction that the assignment asks for; 0: none. A deletion's own, else that of the fresh root.
[[nodiscard]] std::uint64_t destructionOf(const Assignment& assignment);
// Whether the assignment asks for a destruction that was not asked for before, or was refused then. `present`: what the
// host holds, or null.
[[nodiscard]] bool destroysAnew(const Assignment& incoming, const SandboxRecord* present, const FenceAnswers& answers);

struct HeldDestruction {
  SandboxId sandboxId;
  std::uint64_t generation = 0;  // destructionOf()
  std::string name;
  friend bool operator==(const HeldDestruction&, const HeldDestruction&) = default;
};
// Names exactly this set, whatever its order: 32 hex digits. A changed set has another name.
[[nodiscard]] std::string fenceId(std::vector<HeldDestruction> held);

// What is told of a sandbox whose destruction is held. No step is taken.
[[nodiscard]] Decision decideHeld(const SandboxRecord& record);
// The same when it is refused. The sandbox is served as if the destruction had not been wished.
[[nodiscard]] Decision decideRefused(const SandboxRecord& record, const SandboxFacts& facts);

}  // namespace gs

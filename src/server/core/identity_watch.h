// Whether two agents take turns with one identity, as after a disk was cloned.
//
// A Hello names the last epoch that its agent was given. When that is older than the epoch of the link it takes over from,
// and an agent had proved to have that epoch by speaking on it, then somebody else holds this identity, or the agent was
// set back to an earlier state. One such contradiction proves nothing (a restored machine makes one). Two within kWindow
// that name different epochs do: each side remembers its own last link and none of the other's.
//
// No false alarm, therefore, for: a lost HelloAck, however often (nothing was said on that epoch); a Hello that was stuck in
// the network and comes late (its agent has given the connection up, and a takeover is judged only when something more was
// heard on it); an agent that lost its journal (it names none); a machine that is set back to the same snapshot again and again (it names the same epoch); a
// restored server database (epochs still grow, and the agent's is then the higher one); a link that was down before the
// next came. Pure; a restart of the server forgets what was seen, and two more turns tell it again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace gs {

inline constexpr Millis kIdentityWindow = std::chrono::minutes(10);
// A host is flagged until there was no contradiction for so long. Two agents that fight make one a minute or so.
inline constexpr Millis kIdentityQuiet = std::chrono::minutes(15);

struct Takeover {
  std::uint64_t namedEpoch = 0;     // by the Hello of the link that takes over; 0: none
  std::uint64_t presentEpoch = 0;   // of the link that is up
  bool spokenOn = false;            // whether anything was heard with it
};

struct Contradiction {
  std::uint64_t namedEpoch = 0;
  SteadyTime at{};
};

enum class IdentityVerdict : std::uint8_t { kFine, kContradiction, kDuplicate };
// `last` is the host's contradiction before this one, if any.
[[nodiscard]] IdentityVerdict judgeTakeover(const Takeover& takeover, const std::optional<Contradiction>& last, SteadyTime now);

}  // namespace gs

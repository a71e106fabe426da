// Sandboxes away from any host, in rows. Internal to store/.
#pragma once

#include "server/store/sandbox_rows.h"

namespace gs::sql {

// kFailedPrecondition.
[[nodiscard]] Error refusedWish(std::string_view reason, std::string message, std::string fix = {});
// Whether its root file system may be changed now: not while it is being deleted or archived, nor without its host.
[[nodiscard]] Status checkMayChange(const SandboxRow& row);
// kFailedPrecondition (agent_too_old): an agent that does not know the wish would quietly do nothing about it.
[[nodiscard]] Status checkKnows(const HostRecord& host, std::string_view feature);

// Archived, and on no host any more.
[[nodiscard]] bool isAway(const SandboxRecord& record);
// A wish for such a one: deletion erases it, being archived it is already, everything else needs a host.
[[nodiscard]] Result<SandboxRecord> wishAway(Database& db, const Actor& actor, SandboxRow row, DesiredState desired, WallTime now);

// What the host still has to remove, as sandboxes that are to be deleted there.
[[nodiscard]] Status addReleases(Database& db, const HostId& host, std::vector<SandboxRecord>& out);
// When the observation is about such a one: takes note, and gives back what there is to tell about it. Nothing otherwise.
[[nodiscard]] Result<std::optional<SandboxRecord>> noteRelease(Database& db, const HostId& host, const Observation& observation);

}  // namespace gs::sql

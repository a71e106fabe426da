// Sandboxes that have no host yet. Internal to store/.
#pragma once

#include "server/store/sandbox_rows.h"
#include "server/store/store.h"

namespace gs::sql {

// Whether it has not been on a host yet; what is archived has been.
[[nodiscard]] bool isWaiting(const SandboxRecord& record);

// Makes the draft one that waits, for the reason that placement gave. kResourceExhausted: too many do.
[[nodiscard]] Result<SandboxRecord> asWaiting(Database& db, SandboxRecord draft, const Error& why, const ClusterId& cluster);
// A wish for one that waits: no host has to carry it out. The caller has checked that it may be wished.
[[nodiscard]] Result<SandboxRecord> wishWhileWaiting(Database& db, const Actor& actor, SandboxRow row, DesiredState desired,
                                                     WallTime now);

}  // namespace gs::sql

// Keys with which clients repeat a creation. Internal to store/.
#pragma once

#include "server/store/sandbox_rows.h"

namespace gs::sql {

// What the key made in the last 24 hours, as it is shown now. kFailedPrecondition: it was another request, or what it made
// is gone.
[[nodiscard]] Result<std::optional<SandboxRecord>> readRepeated(Database& db, const TenantId& tenant, const RepeatKey& key,
                                                                WallTime now);
// In the transaction that records the sandbox. Forgets keys that are too old, of every tenant.
[[nodiscard]] Status writeRepeat(Database& db, const SandboxRecord& sandbox, const RepeatKey& key, WallTime now);

}  // namespace gs::sql

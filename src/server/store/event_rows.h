// The log of what happened to sandboxes, in rows. Internal to store/; always in the transaction of the change itself.
#pragma once

#include "server/core/sandbox_event.h"
#include "server/store/sandbox_rows.h"

namespace gs::sql {

// The system itself as an actor: nobody asked for it just then.
inline constexpr std::string_view kSystemActor = "system";

// The sandbox as `row` is after the change, as a client sees it.
[[nodiscard]] Status recordEvent(Database& db, const SandboxRow& row, SandboxEventKind kind, std::string_view actor,
                                 WallTime now);
// The same for a record that is shown as it stands, such as one that is gone by now.
[[nodiscard]] Status recordEvent(Database& db, const SandboxRecord& shown, SandboxEventKind kind, std::string_view actor,
                                 WallTime now);
// One for each sandbox on the host, as they are after the change. Returns how many. A host holds a bounded number.
[[nodiscard]] Result<std::int64_t> recordEventsOnHost(Database& db, const HostId& host, SandboxEventKind kind,
                                                      std::string_view actor, WallTime now);

// kHostDisconnected for every sandbox whose host counts as connected, in one statement: before they are all marked.
[[nodiscard]] Status recordAllUnheard(Database& db, WallTime now);

}  // namespace gs::sql

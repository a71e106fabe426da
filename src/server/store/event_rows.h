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
// A host was lost or found (kHostDisconnected, kHostConnected): an event for each sandbox on it as they are after the
// change, and one line in the audit log when there are any. A host holds a bounded number of sandboxes.
[[nodiscard]] Status recordHostHeard(Database& db, const HostRecord& host, SandboxEventKind kind, std::string_view actor,
                                     std::string_view why, WallTime now);
// The same for every host that counts as connected, in two statements: before they are all marked.
[[nodiscard]] Status recordAllUnheard(Database& db, WallTime now);

}  // namespace gs::sql

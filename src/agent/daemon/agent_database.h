// Opens the agent's one database file (journal and cache metadata) and brings its schema up to date.
//
// No data file stops a start (design §4, rule 5): a file that is no database, or whose pages are damaged, is set aside
// under another name and a new one is begun; what runs is then adopted from container labels and the control plane.
// Nothing is ever deleted. Blocking; at start only.
#pragma once

#include "agent/core/agent_paths.h"
#include "db/database.h"

namespace gs {

// Repeat: safe. kFailedPrecondition: a newer version wrote it, and it is left as it is. kUnavailable: another process
// holds it. kResourceExhausted and the like: the disk does not let it be opened, which says nothing about its contents.
[[nodiscard]] Result<Database> openAgentDatabase(const AgentPaths& paths);

}  // namespace gs

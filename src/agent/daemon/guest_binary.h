// Keeps the guest binary that sandboxes are started with under a name made of its content.
//
// A bind mount holds the file that it was made from; an upgrade must therefore never rewrite it under running sandboxes.
// Blocking; at start only.
#pragma once

#include "agent/core/agent_paths.h"
#include "base/result.h"

namespace gs {

// The path of the stored copy. Repeat: the same. kNotFound when `source` is missing (with the fix); kInvalidArgument
// when it is no ELF program.
[[nodiscard]] Result<std::string> storeGuestBinary(const AgentPaths& paths, const std::string& source);
// Where the copy of `source` is, or would be. Stores nothing.
[[nodiscard]] Result<std::string> storedGuestPath(const AgentPaths& paths, const std::string& source);
// gstacks-guest beside the running program.
[[nodiscard]] std::string defaultGuestPath();

}  // namespace gs

// Takes the picture of this host that findLeaks() compares: journal, engine, folders. And cleans what is provably ours.
//
// Blocking except for the engine's part; used by `gstacks-agent doctor --leaks` beside a running agent, and by the agent
// itself. The journal is only read, on both sides of everything else, so that what comes and goes meanwhile is not taken
// for a leak.
#pragma once

#include "agent/core/agent_paths.h"
#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/sandboxes/leaks.h"

namespace gs {

// kUnavailable: the engine does not answer, and then nothing can be said. kDataLoss: the journal cannot be read.
[[nodiscard]] Task<Result<HostPicture>> takePicture(AgentPaths paths, HostId host, DockerRuntime& docker,
                                                    std::string currentGuest, Deadline deadline);

// Removes run directories of nobody and downloads that nobody finishes; nothing else, whatever is in the list. Returns
// what was removed. Repeat: harmless.
[[nodiscard]] std::vector<Leak> cleanProvablyOurs(const AgentPaths& paths, const std::vector<Leak>& leaks);

// {"leaks":[{"kind","what","detail","ageSeconds"}],"notes":[…]}
[[nodiscard]] std::string leaksAsJson(const std::vector<Leak>& leaks);

}  // namespace gs

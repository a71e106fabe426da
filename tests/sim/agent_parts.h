// The agent's sandboxes, in a program that holds the server too.
//
// Server and agent each have a gs::SandboxRecord, and they never meet but here. Two types of one name in one program are
// undefined behaviour, so this program compiles agent/core and agent/sandboxes with another name for theirs (see
// CMakeLists.txt), and takes their headers through this one only.
#pragma once

#include "agent/core/agent_paths.h"
#include "agent/guest_channel/guest_channel.h"
#include "agent/runtimes/runtime.h"
#include "base/clock.h"
#include "db/database_thread.h"

#define SandboxRecord AgentSandboxRecord
#include "agent/core/sandbox_model.h"
#include "agent/sandboxes/link_watch.h"
#include "agent/sandboxes/supervisor.h"
#undef SandboxRecord

// Every command file adds its part of the tree with one function; buildCommands() calls them all.
#pragma once

#include "cli/command.h"
#include "cli/context.h"

namespace gs::cli {

void addAuthCommands(Command& root);
void addSystemCommands(Command& root);  // whoami, version
void addHostCommands(Command& root);
void addHostRecoveryCommands(Command& host);  // adoption, held deletions
void addClusterCommands(Command& root);
void addTokenCommands(Command& root);
void addApiKeyCommands(Command& root);
void addBlueprintCommands(Command& root);
void addSandboxCommands(Command& root);
void addExecCommand(Command& sandbox);
void addShellCommand(Command& sandbox);
void addFileCommands(Command& sandbox);
void addSessionCommands(Command& sandbox);
void addAuditCommands(Command& root);
void addCompletionCommand(Command& root);

// The whole tree under `gstacks`, with the options of every command bound to `options`. Both must live while it is
// used.
[[nodiscard]] std::unique_ptr<Command> buildCommands(GlobalOptions& options);

}  // namespace gs::cli

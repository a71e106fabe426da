#include "cli/completion.h"

#include "cli/commands/commands.h"

namespace gs::cli {

void addCompletionCommand(Command& root) {
  Command& completion = root.add("completion", "Print a completion script for a shell");
  const auto add = [&completion](std::string shell, std::string howTo, std::string (*make)(const Command&)) {
    Command& command = completion.add(shell, fmt::format("Print the completion script for {}", shell));
    command.details(std::move(howTo));
    command.run([make](Context& context) -> Result<int> {
      context.out().raw(make(context.root()));
      return 0;
    });
  };
  add("bash", "Put this into ~/.bashrc:\n  source <(gstacks completion bash)", bashCompletion);
  add("zsh", "Put this into ~/.zshrc, after compinit:\n  source <(gstacks completion zsh)", zshCompletion);
  add("fish", "Run this once:\n  gstacks completion fish > ~/.config/fish/completions/gstacks.fish", fishCompletion);
}

}  // namespace gs::cli

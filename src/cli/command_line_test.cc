#include "cli/command_line.h"

#include <gtest/gtest.h>

#include "cli/commands/commands.h"
#include "cli/help.h"

namespace gs::cli {
namespace {

struct Parsed {
  std::string path;  // of the command that was reached
  std::string message;
  std::string fix;
  Wish wish = Wish::kRun;
};

Parsed parse(const std::vector<std::string>& words) {
  GlobalOptions options;
  const auto root = buildCommands(options);
  const Command* where = nullptr;
  const auto result = parseCommandLine(*root, words, &where);
  if (!result) {
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    return {where->path(), result.error().message, result.error().fix};
  }
  return {where->path(), "", "", result->wish};
}

TEST(CommandLine, GoodOnesReachTheirCommand) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> rows{
      {{"whoami"}, "gstacks whoami"},
      {{"--output", "json", "host", "list"}, "gstacks host list"},
      {{"host", "list", "--output", "json"}, "gstacks host list"},
      {{"host", "list", "-ojson", "-q"}, "gstacks host list"},
      {{"host", "--quiet", "list"}, "gstacks host list"},
      {{"host", "info", "--host-id", "hst_0123456789abcdefghjk"}, "gstacks host info"},
      {{"sandbox", "info", "list"}, "gstacks sandbox info"},  // a sandbox may be named like a command
      {{"sandbox", "create", "--blueprint", "d", "-e", "A=1", "-e", "B=2", "--env=C=3", "--", "--help", "-x"},
       "gstacks sandbox create"},
      {{"sandbox", "exec", "-i", "web", "--", "ls", "--", "-l"}, "gstacks sandbox exec"},
      {{"sandbox", "exec", "web", "-i", "--", "ls"}, "gstacks sandbox exec"},
      {{"sandbox", "delete", "web", "--no-wait"}, "gstacks sandbox delete"},
      {{"cluster", "rename", "a", "b"}, "gstacks cluster rename"},
      {{"token", "create", "--max-uses", "20", "--expires-in", "24h"}, "gstacks token create"},
      {{"completion", "bash"}, "gstacks completion bash"},
  };
  for (const auto& [words, path] : rows) {
    const Parsed parsed = parse(words);
    EXPECT_EQ(parsed.message, "") << fmt::format("{}", fmt::join(words, " "));
    EXPECT_EQ(parsed.path, path);
  }
}

TEST(CommandLine, BadOnesNameWhatIsWrong) {
  struct Row {
    std::vector<std::string> words;
    std::string_view named;  // must be in the message
    std::string_view fix;    // must be in the fix
  };
  const std::vector<Row> rows{
      {{"sandbx"}, "'sandbx'", "did you mean sandbox?"},
      {{"sandbox"}, "needs a command", "gstacks sandbox --help"},
      {{"sandbox", "lisst"}, "'lisst'", "did you mean list?"},
      {{"sandbox", "list", "--stat", "running"}, "--stat", "did you mean --state?"},
      {{"sandbox", "list", "--state", "runing"}, "--state: 'runing'", "gstacks sandbox list --help"},
      {{"sandbox", "list", "extra"}, "'extra'", "gstacks sandbox list --help"},
      {{"sandbox", "create"}, "--blueprint", "gstacks sandbox create --help"},
      {{"sandbox", "create", "--blueprint", "d", "--memory", "5x"}, "--memory: '5x'", "--help"},
      {{"sandbox", "create", "--blueprint", "d", "--cpu", "many"}, "--cpu: 'many'", "--help"},
      {{"sandbox", "create", "--blueprint", "d", "--pids", "1.5"}, "--pids: '1.5'", "--help"},
      {{"sandbox", "create", "--blueprint", "d", "--name", "a", "--name", "b"}, "--name", "--help"},
      {{"sandbox", "create", "--blueprint"}, "--blueprint", "--help"},
      {{"sandbox", "create", "--blueprint", "d", "--runtime", "podman"}, "--runtime: 'podman'", "--help"},
      {{"sandbox", "create", "--blueprint=", "--name", "x"}, "--blueprint", "--help"},
      {{"sandbox", "create", "--blueprint", "d", "--"}, "COMMAND", "--help"},
      {{"sandbox", "info"}, "SANDBOX", "gstacks sandbox info --help"},
      {{"sandbox", "exec", "web"}, "COMMAND", "--help"},
      {{"sandbox", "exec", "web", "ls"}, "'ls'", "put -- before"},
      {{"sandbox", "exec", "web", "ls", "-l"}, "'ls'", "put -- before"},
      {{"sandbox", "exec", "web", "--wait-running", "5m", "--", "ls"}, "--wait-running", "--help"},
      {{"sandbox", "stop", "web", "--grace", "soon"}, "--grace: 'soon'", "--help"},
      {{"sandbox", "stop", "web", "--wait=no"}, "--wait", "--help"},
      {{"token", "create", "--max-uses", "-1"}, "--max-uses: '-1'", "--help"},
      {{"token", "create", "--expires-in", "tomorrow"}, "--expires-in: 'tomorrow'", "--help"},
      {{"cluster", "create", "--kind", "cloud", "x"}, "--kind: 'cloud'", "--help"},
      {{"cluster", "rename", "a"}, "NAME", "--help"},
      {{"api-key", "create", "ci", "--role", "owner"}, "--role: 'owner'", "--help"},
      {{"blueprint", "create", "x"}, "--archive", "--help"},
      {{"host", "list", "--output", "xml"}, "--output: 'xml'", "--help"},
      {{"host", "list", "--", "x"}, "after --", "--help"},
      {{"--timeout", "0", "whoami"}, "--timeout", "--help"},
      {{"--timeout"}, "--timeout", "--help"},
      {{"whoami", "--timeout", "-5"}, "--timeout: '-5'", "--help"},
  };
  for (const auto& row : rows) {
    const Parsed parsed = parse(row.words);
    const auto line = fmt::format("gstacks {}", fmt::join(row.words, " "));
    EXPECT_NE(parsed.message.find(row.named), std::string::npos) << line << " said: " << parsed.message;
    EXPECT_NE(parsed.fix.find(row.fix), std::string::npos) << line << " advised: " << parsed.fix;
  }
}

TEST(CommandLine, HelpIsForTheCommandThatWasReachedAndBeatsWhatIsMissing) {
  EXPECT_EQ(parse({"--help"}).path, "gstacks");
  EXPECT_EQ(parse({"sandbox", "-h"}).path, "gstacks sandbox");
  const Parsed create = parse({"sandbox", "create", "--help"});
  EXPECT_EQ(create.path, "gstacks sandbox create");
  EXPECT_EQ(create.wish, Wish::kHelp);
  EXPECT_EQ(parse({"sandbox", "exec", "web", "--", "ls", "--help"}).wish, Wish::kRun);
}

TEST(CommandLine, WordsAfterTheDashesStayUntouched) {
  GlobalOptions options;
  Command root("tool", "A tool");
  std::vector<std::string> words;
  std::vector<std::string> env;
  std::string name;
  Command& run = root.add("run", "Run");
  run.argument("NAME", name, "A name");
  run.option("-e,--env", "K=V", env, "A variable");
  run.trailing("ARG", words, "Words", Need::kOptional);
  const Command* where = nullptr;
  const std::vector<std::string> line{"run", "-e", "A=[1,2]", "x", "--env", "B=", "--", "", "--", "-e", "[a]", "%x"};
  ASSERT_TRUE(parseCommandLine(root, line, &where));
  EXPECT_EQ(name, "x");
  EXPECT_EQ(env, (std::vector<std::string>{"A=[1,2]", "B="}));
  EXPECT_EQ(words, (std::vector<std::string>{"", "--", "-e", "[a]", "%x"}));
}

void eachCommand(const Command& command, const std::function<void(const Command&)>& visit) {
  visit(command);
  for (const auto& child : command.children()) eachCommand(*child, visit);
}

// Completion tells options by their name alone in places, and people do so everywhere.
TEST(CommandTree, EveryLeafRunsAndEverythingIsDescribed) {
  GlobalOptions options;
  const auto root = buildCommands(options);
  std::map<std::string, bool> flagByName;
  eachCommand(*root, [&](const Command& command) {
    EXPECT_EQ(command.children().empty(), static_cast<bool>(command.action())) << command.path();
    EXPECT_FALSE(command.summary().empty()) << command.path();
    EXPECT_FALSE(command.summary().ends_with('.')) << command.path();
    for (const auto& option : command.options()) {
      EXPECT_FALSE(option->description.empty()) << command.path() << ' ' << option->names;
      const auto [known, added] = flagByName.emplace(option->longName(), option->isFlag());
      EXPECT_TRUE(added || known->second == option->isFlag())
          << option->longName() << " is both a flag and takes a value";
    }
  });
}

TEST(Help, IsEnoughByItselfAndFitsTheTerminal) {
  GlobalOptions options;
  const auto root = buildCommands(options);
  EXPECT_NE(renderHelp(*root).find("Exit codes:"), std::string::npos);
  eachCommand(*root, [](const Command& command) {
    const std::string help = renderHelp(command, 100);
    EXPECT_NE(help.find("Usage: " + command.path()), std::string::npos);
    EXPECT_NE(help.find("--config-file"), std::string::npos) << command.path();
    for (const auto& option : command.options()) EXPECT_NE(help.find(option->longName()), std::string::npos);
    std::size_t start = 0;
    while (start < help.size()) {
      const auto end = help.find('\n', start);
      EXPECT_LE(end - start, 130u) << command.path() << ": " << help.substr(start, end - start);
      start = end + 1;
    }
  });
}

}  // namespace
}  // namespace gs::cli

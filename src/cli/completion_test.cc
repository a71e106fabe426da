// The scripts for a small tree are kept in golden/; run with GS_UPDATE_GOLDEN=1 to write them anew, then read the diff.
#include "cli/completion.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli/commands/commands.h"

namespace gs::cli {
namespace {

struct SmallTree {
  SmallTree() {
    root.option("-o,--output", "FORMAT", output, "It's the [format]: a choice").oneOf({"table", "json"});
    root.option("--config-file", "FILE", file, "A file").file();
    Command& thing = root.add("thing", "Manage things: all of them");
    Command& create = thing.add("create", "Create a thing");
    create.argument("NAME", name, "Its name");
    create.option("-e,--env", "NAME=VALUE", many, "A variable");
    create.flag("--wait", wait, "Wait");
    thing.add("list", "List things");
    root.add("api-key", "Keys").add("list", "List keys");
  }
  Command root{"tool", "A tool"};
  std::string output;
  std::string file;
  std::string name;
  std::vector<std::string> many;
  bool wait = false;
};

void expectGolden(const std::string& name, const std::string& actual) {
  const std::string path = std::string(GS_SOURCE_DIR) + "/src/cli/golden/" + name;
  if (std::getenv("GS_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << actual;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(actual, expected.str()) << path;
}

TEST(Completion, MatchesItsGoldenScripts) {
  const SmallTree tree;
  expectGolden("completion.bash", bashCompletion(tree.root));
  expectGolden("completion.zsh", zshCompletion(tree.root));
  expectGolden("completion.fish", fishCompletion(tree.root));
}

TEST(Completion, OfTheRealTreeKnowsEveryCommandAndOption) {
  GlobalOptions options;
  const auto root = buildCommands(options);
  const std::vector<std::string> scripts{bashCompletion(*root), zshCompletion(*root), fishCompletion(*root)};
  const std::function<void(const Command&)> visit = [&](const Command& command) {
    for (const auto& script : scripts) {
      EXPECT_NE(script.find(command.name()), std::string::npos) << command.path();
      for (const auto& option : command.options()) {
        EXPECT_NE(script.find(option->longName().substr(2)), std::string::npos)
            << command.path() << ' ' << option->names;
      }
    }
    for (const auto& child : command.children()) visit(*child);
  };
  visit(*root);
}

}  // namespace
}  // namespace gs::cli

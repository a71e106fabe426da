// One command of the tree: its words, options, arguments and what it does, as plain data.
//
// The tree is what everything is made from: the parser (command_line.cc), the help (help.cc) and the completions
// (completion.cc), so none of them can drift from the others. Only command_line.cc knows the parsing library, which
// costs seconds in every file that includes it.
// Lifetime: options write into variables that the action owns (a shared Args struct), so both live as long as the tree.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace gs::cli {

class Context;

enum class ValueKind : std::uint8_t { kText, kFile };
enum class Need : std::uint8_t { kOptional, kRequired };
enum class Repeat : std::uint8_t { kOnce, kMany };

struct Option {
  std::string names{};      // "-o,--output": the long name last
  std::string valueName{};  // "FORMAT"; empty: a flag
  std::string description{};
  std::vector<std::string> choices{};  // the only values; checked by the parser
  ValueKind kind = ValueKind::kText;
  Need need = Need::kOptional;
  Repeat repeat = Repeat::kOnce;
  std::function<Status(const std::string&)> store{};  // called once a value, in order; for a flag with ""

  [[nodiscard]] bool isFlag() const { return valueName.empty(); }
  [[nodiscard]] std::string longName() const { return names.substr(names.find("--")); }

  // For declarations: cmd.option(…).required().oneOf({…}).file();
  Option& required() { return need = Need::kRequired, *this; }
  Option& oneOf(std::vector<std::string> values) { return choices = std::move(values), *this; }
  Option& file() { return kind = ValueKind::kFile, *this; }
};

struct Argument {
  std::string name;  // "SANDBOX"
  std::string description;
  Need need = Need::kRequired;
  std::function<Status(const std::string&)> store;
};

// What follows `--`: the argument vector of a program. The parser hands it over untouched.
struct Trailing {
  std::string name;
  std::string description;
  Need need = Need::kOptional;
  std::vector<std::string>* target = nullptr;
};

class Command {
 public:
  // What the command does. The result is the process's exit code.
  using Action = std::function<Result<int>(Context&)>;

  Command(std::string name, std::string summary) : name_(std::move(name)), summary_(std::move(summary)) {}
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // A command below this one.
  Command& add(std::string name, std::string summary);
  // Paragraphs and examples that the help shows after the options.
  Command& details(std::string text) { return details_ = std::move(text), *this; }
  Command& run(Action action) { return action_ = std::move(action), *this; }
  // The exit code of every error of the action, where the usual one would be taken for something else.
  Command& failsWith(int exitCode) { return failureExitCode_ = exitCode, *this; }

  Option& flag(std::string names, bool& target, std::string description);
  Option& option(std::string names, std::string valueName, std::string& target, std::string description);
  Option& option(std::string names, std::string valueName, std::optional<std::string>& target, std::string description);
  // May be given many times.
  Option& option(std::string names, std::string valueName, std::vector<std::string>& target, std::string description);
  // Any other type: `store` parses, and its error is shown with the option's name.
  Option& option(std::string names, std::string valueName, std::function<Status(const std::string&)> store,
                 std::string description);
  Argument& argument(std::string name, std::string& target, std::string description, Need need = Need::kRequired);
  void trailing(std::string name, std::vector<std::string>& target, std::string description, Need need);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& summary() const { return summary_; }
  [[nodiscard]] const std::string& details() const { return details_; }
  [[nodiscard]] const Action& action() const { return action_; }
  [[nodiscard]] std::optional<int> failureExitCode() const { return failureExitCode_; }
  [[nodiscard]] const Command* parent() const { return parent_; }
  [[nodiscard]] std::string path() const;  // "gstacks sandbox create"
  [[nodiscard]] const Command& root() const;
  [[nodiscard]] const std::vector<std::unique_ptr<Command>>& children() const { return children_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Option>>& options() const { return options_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Argument>>& arguments() const { return arguments_; }
  [[nodiscard]] const std::optional<Trailing>& trailing() const { return trailing_; }

 private:
  Option& addOption(Option option);

  std::string name_;
  std::string summary_;
  std::string details_;
  Action action_;
  std::optional<int> failureExitCode_;
  const Command* parent_ = nullptr;
  std::vector<std::unique_ptr<Command>> children_;
  std::vector<std::unique_ptr<Option>> options_;
  std::vector<std::unique_ptr<Argument>> arguments_;
  std::optional<Trailing> trailing_;
};

}  // namespace gs::cli

#include "cli/command_line.h"

#include <CLI/CLI.hpp>

namespace gs::cli {
namespace {

// A command beside the parser's object for it.
struct Bound {
  const Command* command = nullptr;
  std::vector<std::pair<const Option*, CLI::Option*>> options;
  std::vector<std::pair<const Argument*, CLI::Option*>> arguments;
};
using Bindings = std::map<const CLI::App*, Bound>;

void declare(const Command& command, CLI::App& app, Bindings& bindings) {
  const auto take = [](const CLI::results_t&) { return true; };  // values are read after the parse
  Bound& bound = bindings[&app];
  bound.command = &command;
  for (const auto& option : command.options()) {
    CLI::Option* made = nullptr;
    if (option->isFlag()) {
      made = app.add_flag(option->names);
    } else {
      made =
          app.add_option(option->names, take)->type_name(option->valueName)->required(option->need == Need::kRequired);
      if (option->repeat == Repeat::kMany) {
        made->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
      }
    }
    bound.options.emplace_back(option.get(), made);
  }
  for (const auto& argument : command.arguments()) {
    bound.arguments.emplace_back(argument.get(),
                                 app.add_option(argument->name, take)->required(argument->need == Need::kRequired));
  }
  for (const auto& child : command.children()) declare(*child, *app.add_subcommand(child->name()), bindings);
  if (!command.children().empty()) app.require_subcommand(1);
}

std::size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// "did you mean …? ", or nothing when no candidate is near.
std::string guess(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    const std::size_t d = editDistance(word, candidate);
    if (d < distance) {
      distance = d;
      best = candidate;
    }
  }
  return best.empty() ? "" : fmt::format("did you mean {}? ", best);
}

std::vector<std::string> optionNames(const Command& command) {
  std::vector<std::string> names;
  for (const Command* at = &command; at != nullptr; at = at->parent()) {
    for (const auto& option : at->options()) names.push_back(option->longName());
  }
  return names;
}

std::unexpected<Error> usage(const Command& command, std::string message, const std::string& hint = {}) {
  return fail(makeError(ErrorCode::kInvalidArgument, std::move(message))
                  .withFix(fmt::format("{}see {} --help", hint, command.path())));
}

std::unexpected<Error> unknownWord(const Command& command, const std::string& word, const SplitWords& words) {
  if (word.starts_with("-")) {
    const std::string name = word.substr(0, word.find('='));
    return usage(command, fmt::format("unknown option {} for {}", name, command.path()),
                 guess(name, optionNames(command)));
  }
  if (!command.children().empty()) {
    std::vector<std::string> names;
    for (const auto& child : command.children()) names.push_back(child->name());
    return usage(command, fmt::format("{} has no command '{}'", command.path(), word), guess(word, names));
  }
  if (command.trailing() && !words.trailing) {
    return usage(command, fmt::format("unexpected argument '{}'", word),
                 "put -- before the program and its arguments; ");
  }
  return usage(command, fmt::format("unexpected argument '{}' for {}", word, command.path()));
}

Status storeValues(const Command& command, const Option& option, const CLI::Option& parsed) {
  if (parsed.count() == 0) return {};
  if (option.isFlag()) {
    const bool bare = std::ranges::all_of(parsed.results(), [](const auto& value) { return value == "true"; });
    return bare ? option.store("") : usage(command, fmt::format("{} takes no value", option.longName()));
  }
  for (const auto& value : parsed.results()) {
    const auto& choices = option.choices;
    if (!choices.empty() && std::ranges::find(choices, value) == choices.end()) {
      return usage(command,
                   fmt::format("{}: '{}' is not one of {}", option.longName(), value, fmt::join(choices, ", ")));
    }
    if (auto stored = option.store(value); !stored) {
      return usage(command, fmt::format("{}: {}", option.longName(), stored.error().message));
    }
  }
  return {};
}

Status storeAll(const Command& command, const Bindings& bindings, const CLI::App* deepest) {
  for (const CLI::App* app = deepest; app != nullptr; app = app->get_parent()) {
    const Bound& bound = bindings.at(app);
    for (const auto& [option, parsed] : bound.options) GS_CHECK(storeValues(command, *option, *parsed));
    for (const auto& [argument, parsed] : bound.arguments) {
      if (parsed->count() == 0) continue;
      if (auto stored = argument->store(parsed->results().front()); !stored) {
        return usage(command, fmt::format("{}: {}", argument->name, stored.error().message));
      }
    }
  }
  return {};
}

Status storeTrailing(const Command& command, const SplitWords& words) {
  const bool given = words.trailing && !words.trailing->empty();
  if (!command.trailing()) {
    if (!words.trailing) return {};
    return usage(command, fmt::format("{} takes nothing after --", command.path()));
  }
  if (given) {
    *command.trailing()->target = *words.trailing;
    return {};
  }
  if (words.trailing || command.trailing()->need == Need::kRequired) {
    return usage(command, fmt::format("{} is required, after --", command.trailing()->name));
  }
  return {};
}

// `--name=` would make the parser take the next word as the value.
Status refuseEmptyValues(const Command& root, const SplitWords& words) {
  for (const auto& word : words.own) {
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      return usage(root, fmt::format("{}: the value is empty", word.substr(0, word.size() - 1)));
    }
  }
  return {};
}

}  // namespace

SplitWords splitAtDashes(std::span<const std::string> words) {
  SplitWords split;
  const auto dashes = std::ranges::find(words, "--");
  split.own.assign(words.begin(), dashes);
  if (dashes != words.end()) split.trailing.emplace(dashes + 1, words.end());
  return split;
}

Result<Invocation> parseCommandLine(const Command& root, std::span<const std::string> words, const Command** where) {
  *where = &root;
  const SplitWords split = splitAtDashes(words);
  GS_CHECK(refuseEmptyValues(root, split));
  CLI::App app;
  app.name(root.name());
  app.set_help_flag("-h,--help");
  app.fallthrough();  // so that the root's options are accepted behind a command as well
  Bindings bindings;
  declare(root, app, bindings);

  const auto deepest = [&app] {
    CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return at;
  };
  try {
    std::vector<std::string> reversed(split.own.rbegin(), split.own.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    *where = bindings.at(deepest()).command;
    return Invocation{*where, Wish::kHelp};
  } catch (const CLI::ArgumentMismatch& e) {
    *where = bindings.at(deepest()).command;
    return usage(**where, e.what());
  } catch (const CLI::ParseError& e) {
    const Command& command = *bindings.at(deepest()).command;
    *where = &command;
    // What could not be placed explains more than what is missing because of it.
    if (const auto extras = app.remaining(true); !extras.empty()) return unknownWord(command, extras.front(), split);
    if (!command.children().empty()) return usage(command, fmt::format("{} needs a command", command.path()));
    return usage(command, e.what());
  }
  const CLI::App* chosen = deepest();
  const Command& command = *bindings.at(chosen).command;
  *where = &command;
  GS_CHECK(storeAll(command, bindings, chosen));
  GS_CHECK(storeTrailing(command, split));
  return Invocation{&command, Wish::kRun};
}

}  // namespace gs::cli

#include "cli/completion.h"

namespace gs::cli {
namespace {

constexpr std::string_view kHelpNames = "-h,--help";

// The name without a character that a shell function cannot have.
std::string functionName(const Command& command) {
  std::string name = "_" + command.path();
  for (char& c : name) {
    if (c == ' ' || c == '-') c = '_';
  }
  return name;
}

std::vector<std::string> splitNames(std::string_view names) {
  std::vector<std::string> out;
  while (!names.empty()) {
    const auto comma = names.find(',');
    out.emplace_back(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  }
  return out;
}

// For single quotes of a POSIX shell and of fish, which differ in one thing only: how a quote is put in.
std::string quoted(std::string_view text, std::string_view quoteMark) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += quoteMark;
    } else {
      out += c;
    }
  }
  return out + "'";
}
std::string shQuoted(std::string_view text) {
  return quoted(text, "'\\''");
}

void visit(const Command& command, const std::function<void(const Command&)>& seen) {
  seen(command);
  for (const auto& child : command.children()) visit(*child, seen);
}

// The command's own options, then the root's.
std::vector<const Option*> optionsAt(const Command& command) {
  std::vector<const Option*> out;
  for (const auto& option : command.options()) out.push_back(option.get());
  if (command.parent() != nullptr) {
    for (const auto& option : command.root().options()) out.push_back(option.get());
  }
  return out;
}

// --- bash ------------------------------------------------------------------------------------------------------------

std::string bashWords(const Command& command) {
  std::vector<std::string> words;
  for (const auto& child : command.children()) words.push_back(child->name());
  for (const Option* option : optionsAt(command)) {
    for (auto& name : splitNames(option->names)) words.push_back(std::move(name));
  }
  for (auto& name : splitNames(kHelpNames)) words.push_back(std::move(name));
  return fmt::format("{}", fmt::join(words, " "));
}

std::string bashPattern(const Command& command, const Option& option) {
  const std::string at = command.parent() == nullptr ? "*" : "'" + command.path() + "'";
  std::vector<std::string> patterns;
  for (const auto& name : splitNames(option.names)) patterns.push_back(fmt::format("{}' {}'", at, name));
  return fmt::format("{}", fmt::join(patterns, "|"));
}

// One `case` row for each option whose value can be completed.
std::string bashValues(const Command& command) {
  std::string rows;
  for (const auto& option : command.options()) {
    if (!option->choices.empty()) {
      rows += fmt::format("    {}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")) ;;\n", bashPattern(command, *option),
                          fmt::join(option->choices, " "));
    } else if (option->kind == ValueKind::kFile) {
      rows += fmt::format("    {}) compopt -o default 2>/dev/null ;;\n", bashPattern(command, *option));
    }
  }
  return rows;
}

// One row for each option after which the next word is its value.
std::string bashTaking(const Command& command) {
  std::string rows;
  for (const auto& option : command.options()) {
    if (!option->isFlag()) rows += fmt::format("    {}) ;;\n", bashPattern(command, *option));
  }
  return rows;
}

// --- zsh -------------------------------------------------------------------------------------------------------------

// Colons and brackets end a description in _arguments; backslashes escape.
std::string zshText(std::string_view text, std::string_view special) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zshOption(const Option& option) {
  const auto names = splitNames(option.names);
  std::string value;
  if (!option.isFlag()) {
    std::string action = " ";
    if (option.kind == ValueKind::kFile) action = "_files";
    if (!option.choices.empty()) action = fmt::format("({})", fmt::join(option.choices, " "));
    value = fmt::format(":{}:{}", zshText(option.valueName, ":"), action);
  }
  const std::string text = fmt::format("[{}]{}", zshText(option.description, "[]"), value);
  if (names.size() == 1) {
    return shQuoted((option.repeat == Repeat::kMany ? "*" : "") + names.front() + text);
  }
  const std::string before =
      option.repeat == Repeat::kMany ? std::string("'*'") : fmt::format("'({})'", fmt::join(names, " "));
  return fmt::format("{}{{{}}}{}", before, fmt::join(names, ","), shQuoted(text));
}

std::string zshFunction(const Command& command) {
  std::string out = fmt::format("{}() {{\n", functionName(command));
  const bool group = !command.children().empty();
  if (group) out += "  local curcontext=\"$curcontext\" state line\n";
  out += fmt::format("  _arguments -s{} \\\n", group ? " -C" : "");
  for (const Option* option : optionsAt(command)) out += fmt::format("    {} \\\n", zshOption(*option));
  out += "    '(-h --help)'{-h,--help}'[Show this help]'";
  if (!group) {
    for (const auto& argument : command.arguments())
      out += fmt::format(" \\\n    '::{}: '", zshText(argument->name, ":"));
    return out + "\n}\n";
  }
  out += " \\\n    '1: :->command' '*:: :->words'\n  case $state in\n    command)\n      local -a commands=(\n";
  for (const auto& child : command.children()) {
    out += fmt::format("        {}\n", shQuoted(child->name() + ":" + zshText(child->summary(), ":")));
  }
  out += "      )\n      _describe -t commands command commands ;;\n    words)\n      case $line[1] in\n";
  for (const auto& child : command.children()) {
    out += fmt::format("        {}) {} ;;\n", child->name(), functionName(*child));
  }
  return out + "      esac ;;\n  esac\n}\n";
}

// --- fish ------------------------------------------------------------------------------------------------------------

std::string fishQuoted(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') escaped += '\\';
    escaped += c;
  }
  return quoted(escaped, "\\'");
}

std::string fishOption(const std::string& program, const std::string& condition, std::string_view names,
                       const Option* option, std::string_view description) {
  std::string out = fmt::format("complete -c {}{}", program, condition);
  for (const auto& name : splitNames(names)) {
    out += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
  }
  if (option != nullptr && !option->isFlag()) {
    out += option->kind == ValueKind::kFile ? " -r -F" : " -x";
    if (!option->choices.empty()) out += fmt::format(" -a '{}'", fmt::join(option->choices, " "));
  }
  return fmt::format("{} -d {}\n", out, fishQuoted(description));
}

}  // namespace

std::string bashCompletion(const Command& root) {
  const std::string& name = root.name();
  std::string descend;
  std::string values;
  std::string taking;
  std::string words;
  visit(root, [&](const Command& command) {
    if (command.parent() != nullptr) descend += fmt::format("        '{}') path=$path' '$word ;;\n", command.path());
    values += bashValues(command);
    taking += bashTaking(command);
    words += fmt::format("    '{}') words='{}' ;;\n", command.path(), bashWords(command));
  });
  return fmt::format(
      "# bash completion for {0}. Load it: source <({0} completion bash)\n"
      "_{0}() {{\n"
      "  local cur=${{COMP_WORDS[COMP_CWORD]}} path='{0}' skip='' word='' words='' i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    if [[ -n $skip ]]; then skip=''; continue; fi\n"
      "    word=${{COMP_WORDS[i]}}\n"
      "    case $word in\n"
      "      --) compopt -o default 2>/dev/null; return ;;\n"
      "      -*) if _{0}_takes_value \"$path $word\"; then skip=1; fi ;;\n"
      "      *) case \"$path $word\" in\n"
      "{1}"
      "      esac ;;\n"
      "    esac\n"
      "  done\n"
      "  if [[ -n $skip ]]; then _{0}_value \"$path $word\"; return; fi\n"
      "  case $path in\n"
      "{2}"
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}}\n"
      "_{0}_value() {{\n"
      "  case $1 in\n"
      "{3}"
      "  esac\n"
      "}}\n"
      "_{0}_takes_value() {{\n"
      "  case $1 in\n"
      "{4}"
      "    *) return 1 ;;\n"
      "  esac\n"
      "}}\n"
      "complete -F _{0} {0}\n",
      name, descend, words, values, taking);
}

std::string zshCompletion(const Command& root) {
  std::string out =
      fmt::format("#compdef {0}\n# zsh completion for {0}. Load it: source <({0} completion zsh)\n", root.name());
  visit(root, [&](const Command& command) { out += zshFunction(command); });
  // Autoloaded from $fpath the file is the function itself; sourced, it registers the function.
  return out +
         fmt::format("if [ \"$funcstack[1]\" = '_{0}' ]; then _{0} \"$@\"; else compdef _{0} {0}; fi\n", root.name());
}

std::string fishCompletion(const Command& root) {
  const std::string& name = root.name();
  std::string taking;
  visit(root, [&](const Command& command) {
    for (const auto& option : command.options()) {
      if (option->isFlag()) continue;
      for (const auto& word : splitNames(option->names)) {
        if ((taking + " ").find(" " + word + " ") == std::string::npos) taking += " " + word;
      }
    }
  });
  std::string out = fmt::format(
      "# fish completion for {0}. Load it: {0} completion fish | source\n"
      "function __{0}_path\n"
      "  set -l skip 0\n"
      "  set -l path\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    if test $skip = 1; set skip 0; continue; end\n"
      "    if test \"$word\" = --; return 1; end\n"
      "    if contains -- $word{1}; set skip 1; continue; end\n"
      "    string match -q -- '-*' $word; or set -a path $word\n"
      "  end\n"
      "  echo \"$path\"\n"
      "end\n"
      "function __{0}_exactly\n"
      "  set -l path (__{0}_path); and test \"$path\" = \"$argv\"\n"
      "end\n"
      "function __{0}_at\n"
      "  set -l path (__{0}_path); and string match -q -- \"$argv *\" \"$path \"\n"
      "end\n"
      "complete -c {0} -f\n",
      name, taking);
  visit(root, [&](const Command& command) {
    std::string condition;
    const std::string below = command.parent() == nullptr ? "" : command.path().substr(name.size());
    for (const auto& child : command.children()) {
      out += fmt::format("complete -c {0} -n '__{0}_exactly{1}' -a {2} -d {3}\n", name, below, child->name(),
                         fishQuoted(child->summary()));
    }
    if (!below.empty()) condition = fmt::format(" -n '__{}_at{}'", name, below);
    for (const auto& option : command.options()) {
      out += fishOption(name, condition, option->names, option.get(), option->description);
    }
    if (below.empty()) out += fishOption(name, condition, kHelpNames, nullptr, "Show this help");
  });
  return out;
}

}  // namespace gs::cli

#include "cli/help.h"

namespace gs::cli {
namespace {

constexpr std::size_t kIndent = 2;
constexpr std::size_t kWidestLeft = 34;  // a longer left side gets a line of its own

struct Row {
  std::string left;
  std::string right;
};

std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const auto space = text.find(' ');
    const auto word = text.substr(0, space);
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > columns) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  }
  return lines;
}

void section(std::string& out, std::string_view title, const std::vector<Row>& rows, std::size_t columns) {
  if (rows.empty()) return;
  std::size_t width = 0;
  for (const auto& row : rows) {
    if (row.left.size() <= kWidestLeft) width = std::max(width, row.left.size());
  }
  const std::size_t at = kIndent + width + 2;
  out += fmt::format("\n{}:\n", title);
  for (const auto& row : rows) {
    const auto lines = wrap(row.right, columns > at + 20 ? columns - at : 20);
    if (row.left.size() > width) {
      out += fmt::format("  {}\n{:{}}{}\n", row.left, "", at, lines.front());
    } else {
      out += fmt::format("  {:<{}}  {}\n", row.left, width, lines.front());
    }
    for (std::size_t i = 1; i < lines.size(); ++i) out += fmt::format("{:{}}{}\n", "", at, lines[i]);
  }
}

Row optionRow(const Option& option) {
  // Long names stand under each other, whether a short one precedes or not.
  std::string left = option.names.starts_with("--") ? "    " + option.names : option.names;
  if (const auto comma = left.find(','); comma != std::string::npos) left.insert(comma + 1, " ");
  if (!option.isFlag()) left += " " + option.valueName;
  std::string right = option.description;
  if (!option.choices.empty()) right += fmt::format(" ({})", fmt::join(option.choices, ", "));
  if (option.repeat == Repeat::kMany) right += " (may repeat)";
  if (option.need == Need::kRequired) right += " (required)";
  return {left, right};
}

std::vector<Row> optionRows(const Command& command) {
  std::vector<Row> rows;
  for (const auto& option : command.options()) rows.push_back(optionRow(*option));
  return rows;
}

std::string usageLine(const Command& command) {
  std::string line = command.path();
  if (!command.children().empty()) line += " COMMAND";
  for (const auto& argument : command.arguments()) {
    line += argument->need == Need::kRequired ? " " + argument->name : " [" + argument->name + "]";
  }
  for (const auto& option : command.options()) {
    if (option->need == Need::kRequired) line += fmt::format(" {} {}", option->longName(), option->valueName);
  }
  line += " [OPTION]...";
  if (const auto& trailing = command.trailing()) {
    line += trailing->need == Need::kRequired ? fmt::format(" -- {}...", trailing->name)
                                              : fmt::format(" [-- {}...]", trailing->name);
  }
  return line;
}

}  // namespace

std::string renderHelp(const Command& command, std::size_t columns) {
  std::string out = fmt::format("{}\n\nUsage: {}\n", command.summary(), usageLine(command));
  std::vector<Row> rows;
  for (const auto& child : command.children()) rows.push_back({child->name(), child->summary()});
  section(out, "Commands", rows, columns);

  rows.clear();
  for (const auto& argument : command.arguments()) rows.push_back({argument->name, argument->description});
  if (const auto& trailing = command.trailing()) rows.push_back({trailing->name, trailing->description});
  section(out, "Arguments", rows, columns);

  const bool isRoot = command.parent() == nullptr;
  if (!isRoot) section(out, "Options", optionRows(command), columns);
  rows = optionRows(command.root());
  rows.push_back({"-h, --help", "Show this help"});
  section(out, "Options of every command", rows, columns);
  if (!command.details().empty()) out += "\n" + command.details() + "\n";
  return out;
}

}  // namespace gs::cli

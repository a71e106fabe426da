#include "cli/table.h"

#include "cli/text_width.h"

namespace gs::cli {
namespace {

constexpr std::string_view kGap = "  ";

std::string_view escapeFor(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kBad:
      return "\x1b[31m";
    case Tone::kBusy:
      return "\x1b[33m";
    case Tone::kFaint:
      return "\x1b[2m";
  }
  return "";
}

}  // namespace

Cell stateCell(std::string_view state) {
  static constexpr std::array kGoodStates{"running", "connected", "healthy", "active", "ok"};
  static constexpr std::array kBadStates{"failed", "revoked", "unhealthy", "disconnected", "expired", "unknown"};
  static constexpr std::array kFaintStates{"stopped", "archived", "absent", "coming_soon", "exhausted", "deleted"};
  const auto among = [&](const auto& states) { return std::ranges::find(states, state) != states.end(); };
  Tone tone = Tone::kBusy;
  if (among(kGoodStates)) tone = Tone::kGood;
  if (among(kBadStates)) tone = Tone::kBad;
  if (among(kFaintStates)) tone = Tone::kFaint;
  return {std::string(state), tone};
}

std::string colored(std::string_view text, Tone tone, Colors colors) {
  const auto escape = escapeFor(tone);
  if (colors == Colors::kOff || escape.empty()) return std::string(text);
  return fmt::format("{}{}\x1b[0m", escape, text);
}

void Table::add(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  for (auto& cell : cells) cell.text = cell.text.empty() ? "-" : printable(cell.text);
  rows_.push_back(std::move(cells));
}

std::string Table::render(Colors colors) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = textWidth(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, textWidth(row[c].text));
    widths.push_back(width);
  }
  std::string out;
  const auto line = [&](const auto& textAt, const auto& toneAt) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string& text = textAt(c);
      const std::string padding(widths[c] - textWidth(text), ' ');
      const bool last = c + 1 == columns_.size();
      if (columns_[c].align == Align::kRight) out += padding;
      out += colored(text, toneAt(c), colors);
      if (columns_[c].align == Align::kLeft && !last) out += padding;
      if (!last) out += kGap;
    }
    out += '\n';
  };
  line([&](std::size_t c) -> const std::string& { return columns_[c].title; },
       [](std::size_t) { return Tone::kPlain; });
  for (const auto& row : rows_) {
    line([&](std::size_t c) -> const std::string& { return row[c].text; }, [&](std::size_t c) { return row[c].tone; });
  }
  return out;
}

void Properties::add(std::string name, Cell value) {
  if (!value.text.empty()) items_.push_back({std::move(name), std::move(value), {}});
}

void Properties::addBlock(std::string name, std::vector<std::string> lines) {
  if (!lines.empty()) items_.push_back({std::move(name), Cell(""), std::move(lines)});
}

std::string Properties::render(Colors colors) const {
  std::size_t width = 0;
  for (const auto& item : items_) width = std::max(width, textWidth(item.name));
  std::string out;
  for (const auto& item : items_) {
    if (!item.block.empty()) {
      out += item.name + ":\n";
      for (const auto& line : item.block) out += fmt::format("  {}\n", printable(line));
      continue;
    }
    const std::string padding(width - textWidth(item.name), ' ');
    out += fmt::format("{}:{} {}\n", item.name, padding, colored(printable(item.value.text), item.value.tone, colors));
  }
  return out;
}

}  // namespace gs::cli

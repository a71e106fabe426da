// Aligned tables and property lists for people. Programs use --output json.
//
// Cells are foreign text: they are made printable here, once. Colour is applied after alignment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gs::cli {

enum class Colors : std::uint8_t { kOff, kOn };
enum class Tone : std::uint8_t { kPlain, kGood, kBad, kBusy, kFaint };
enum class Align : std::uint8_t { kLeft, kRight };

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;

  Cell(std::string t, Tone how = Tone::kPlain) : text(std::move(t)), tone(how) {}  // NOLINT: a text is a cell
  Cell(std::string_view t) : text(t) {}                                            // NOLINT
  Cell(const char* t) : text(t) {}                                                 // NOLINT
};

// "running", "connected", "healthy", "active" are good; "failed", "revoked"… bad; what is on its way is busy.
[[nodiscard]] Cell stateCell(std::string_view state);
[[nodiscard]] std::string colored(std::string_view text, Tone tone, Colors colors);

class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns; an empty cell is shown as "-".
  void add(std::vector<Cell> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Ends with a newline. No spaces at the end of a line.
  [[nodiscard]] std::string render(Colors colors) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// "Name:    web", one line each; empty values are left out.
class Properties {
 public:
  void add(std::string name, Cell value);
  // A heading with indented lines below it; nothing when there are none.
  void addBlock(std::string name, std::vector<std::string> lines);
  [[nodiscard]] std::string render(Colors colors) const;

 private:
  struct Item {
    std::string name;
    Cell value;
    std::vector<std::string> block;
  };
  std::vector<Item> items_;
};

}  // namespace gs::cli

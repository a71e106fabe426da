// Where a command writes: results to standard output, everything else to standard error.
//
// Results are a table or text for people, or JSON for programs. Notes (hints, progress, state changes) go to standard
// error, and only to people: not with --quiet, and not with JSON, where standard error holds one JSON object or
// nothing.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cli/table.h"

namespace gs::cli {

enum class OutputFormat : std::uint8_t { kTable, kJson };
enum class Verbosity : std::uint8_t { kNormal, kQuiet };

class Output {
 public:
  void configure(OutputFormat format, Verbosity verbosity, Colors wanted);

  [[nodiscard]] bool isJson() const { return format_ == OutputFormat::kJson; }
  [[nodiscard]] bool isQuiet() const { return verbosity_ == Verbosity::kQuiet; }
  [[nodiscard]] bool showsNotes() const { return !isJson() && !isQuiet(); }
  [[nodiscard]] bool notesOnTerminal() const { return showsNotes() && stderrIsTerminal_; }

  void json(const Json& value);
  // {"items": […]}
  void jsonItems(std::vector<Json> items);
  void text(std::string_view text);  // as it is, made printable
  void line(std::string_view text);
  void raw(std::string_view bytes);  // as it is
  void table(const Table& table);
  void properties(const Properties& properties);
  // One line to standard error.
  void note(std::string_view text);
  // Replaces the line that it wrote last, on a terminal only; empty takes it away.
  void liveLine(std::string_view text);
  // A state in its colour, for notes.
  [[nodiscard]] std::string noteState(std::string_view state) const;

  // Errors of earlier writes come out here. A reader that went away ends the process as SIGPIPE does, silently.
  [[nodiscard]] Status flush();

 private:
  OutputFormat format_ = OutputFormat::kTable;
  Verbosity verbosity_ = Verbosity::kNormal;
  Colors stdoutColors_ = Colors::kOff;
  Colors stderrColors_ = Colors::kOff;
  bool stderrIsTerminal_ = false;
  bool liveShown_ = false;
};

// Standard output has no reader any more: ends as a program that never heard of SIGPIPE would.
[[noreturn]] void dieOfBrokenPipe();

}  // namespace gs::cli

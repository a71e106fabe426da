#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/text_width.h"

namespace gs::cli {

void Output::configure(OutputFormat format, Verbosity verbosity, Colors wanted) {
  format_ = format;
  verbosity_ = verbosity;
  stderrIsTerminal_ = ::isatty(STDERR_FILENO) == 1;
  stdoutColors_ = ::isatty(STDOUT_FILENO) == 1 ? wanted : Colors::kOff;
  stderrColors_ = stderrIsTerminal_ ? wanted : Colors::kOff;
}

void Output::raw(std::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
}
void Output::text(std::string_view text) {
  raw(printableLines(text));
}
void Output::line(std::string_view text) {
  raw(printable(text) + "\n");
}
void Output::table(const Table& table) {
  raw(table.render(stdoutColors_));
}
void Output::properties(const Properties& properties) {
  raw(properties.render(stdoutColors_));
}

void Output::json(const Json& value) {
  raw(value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void Output::jsonItems(std::vector<Json> items) {
  Json list = Json::array();
  for (auto& item : items) list.push_back(std::move(item));
  json(Json{{"items", std::move(list)}});
}

void Output::note(std::string_view text) {
  if (!showsNotes()) return;
  liveLine("");
  const std::string line = fmt::format("{}\n", text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void Output::liveLine(std::string_view text) {
  if (!notesOnTerminal() || (text.empty() && !liveShown_)) return;
  const std::string line = fmt::format("\r\x1b[K{}", text);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  liveShown_ = !text.empty();
}

std::string Output::noteState(std::string_view state) const {
  const Cell cell = stateCell(state);
  return colored(printable(cell.text), cell.tone, stderrColors_);
}

Status Output::flush() {
  liveLine("");
  const bool broken = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !broken) return {};
  if (errno == EPIPE) dieOfBrokenPipe();
  return fail(errnoError(errno == 0 ? EIO : errno, "cannot write to standard output"));
}

void dieOfBrokenPipe() {
  std::signal(SIGPIPE, SIG_DFL);
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::sigprocmask(SIG_UNBLOCK, &pipe, nullptr);
  std::raise(SIGPIPE);
  ::_exit(128 + SIGPIPE);
}

}  // namespace gs::cli

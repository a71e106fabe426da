#include "cli/app.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "base/version.h"
#include "cli/command_line.h"
#include "cli/commands/commands.h"
#include "cli/failure.h"
#include "cli/help.h"

namespace gs::cli {
namespace {

constexpr std::size_t kHelpColumns = 100;

std::size_t helpColumns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 40) return kHelpColumns;
  return std::min<std::size_t>(size.ws_col, kHelpColumns);
}

// For errors of the parse itself, which come before the option is known.
bool wantsJson(std::span<const std::string> words) {
  const SplitWords split = splitAtDashes(words);
  for (std::size_t i = 0; i < split.own.size(); ++i) {
    const std::string& word = split.own[i];
    const bool next = i + 1 < split.own.size() && split.own[i + 1] == "json";
    if (word == "--output=json" || word == "-ojson" || ((word == "--output" || word == "-o") && next)) return true;
  }
  return false;
}

int report(const Error& error, int exitCode, OutputFormat format) {
  std::fflush(stdout);
  const std::string text = format == OutputFormat::kJson ? errorJson(error, exitCode) : errorText(error);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return exitCode;
}

int runCommand(const Command& command, Context& context, OutputFormat format) {
  Result<int> outcome = command.action()(context);
  const Status flushed = context.out().flush();
  if (outcome && !flushed) outcome = fail(flushed.error());
  if (outcome) return *outcome;
  const Error& error = outcome.error();
  return report(error, command.failureExitCode().value_or(exitCodeFor(error.code)), format);
}

int runWords(std::span<const std::string> words, Environment environment) {
  GlobalOptions options;
  const auto root = buildCommands(options);
  if (words.size() == 1 && words.front() == "--version") {
    std::printf("gstacks %s\n", std::string(versionString()).c_str());
    return kExitOk;
  }
  if (words.empty()) {
    // For a person the same as --help; for a script that lost its words, an error.
    std::fputs(renderHelp(*root, helpColumns()).c_str(), stderr);
    return kExitUsage;
  }
  const Command* where = nullptr;
  const auto invocation = parseCommandLine(*root, words, &where);
  const OutputFormat format = wantsJson(words) || options.output == "json" ? OutputFormat::kJson : OutputFormat::kTable;
  if (!invocation) return report(invocation.error(), kExitUsage, format);
  if (invocation->wish == Wish::kHelp) {
    std::fputs(renderHelp(*where, helpColumns()).c_str(), stdout);
    return std::fflush(stdout) == 0 ? kExitOk : kExitFailure;
  }
  const bool colors = !options.noColor && !environment("NO_COLOR") && environment("TERM") != "dumb";
  Context context(options, *root, std::move(environment));
  context.out().configure(format, options.quiet ? Verbosity::kQuiet : Verbosity::kNormal,
                          colors ? Colors::kOn : Colors::kOff);
  return runCommand(*where, context, format);
}

}  // namespace

int runApp(std::span<const std::string> words, Environment environment) {
  try {
    return runWords(words, std::move(environment));
  } catch (const std::exception& e) {
    const Error error =
        makeError(ErrorCode::kInternal, fmt::format("this is a bug in gstacks {}: {}", versionString(), e.what()));
    return report(error, kExitFailure, wantsJson(words) ? OutputFormat::kJson : OutputFormat::kTable);
  }
}

}  // namespace gs::cli

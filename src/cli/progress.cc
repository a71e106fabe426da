#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/quantities.h"
#include "cli/text_width.h"

namespace gs::cli {
namespace {

constexpr Millis kTerminalInterval(100);
constexpr Millis kPlainInterval(5000);
constexpr std::size_t kWidestBar = 40;

std::size_t terminalColumns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

double fraction(const ProgressSample& sample) {
  if (!sample.totalBytes) return 0;
  if (*sample.totalBytes == 0) return 1;
  return std::min(1.0, static_cast<double>(sample.doneBytes) / static_cast<double>(*sample.totalBytes));
}

double bytesPerSecond(const ProgressSample& sample) {
  const auto ms = sample.elapsed.count();
  return ms <= 0 ? 0 : static_cast<double>(sample.doneBytes) * 1000 / static_cast<double>(ms);
}

}  // namespace

std::string progressLine(const ProgressSample& sample) {
  std::string line = fmt::format("{}  {}", sample.label, formatBytes(sample.doneBytes));
  if (sample.totalBytes)
    line += fmt::format(" of {}  {:.0f} %", formatBytes(*sample.totalBytes), fraction(sample) * 100);
  const double speed = bytesPerSecond(sample);
  if (speed > 0) {
    line += fmt::format("  {:.1f} MiB/s", speed / (1024 * 1024));
    if (sample.totalBytes && *sample.totalBytes > sample.doneBytes) {
      const double seconds = static_cast<double>(*sample.totalBytes - sample.doneBytes) / speed;
      // Rounded up: "0s left" while something is left is a lie.
      line += fmt::format("  {} left", formatDuration(Millis(static_cast<std::int64_t>(seconds) * 1000 + 1000)));
    }
  }
  return line;
}

std::string progressBar(const ProgressSample& sample, std::size_t columns) {
  const std::string line = progressLine(sample);
  const std::size_t used = textWidth(line) + 4;
  // A line that reaches the edge would wrap, and then could not be taken back.
  if (!sample.totalBytes || columns < used + 10) return line.substr(0, columns > 1 ? columns - 1 : 0);
  const std::size_t cells = std::min(kWidestBar, columns - used);
  const auto full = static_cast<std::size_t>(fraction(sample) * static_cast<double>(cells));
  return fmt::format("[{}{}] {}", std::string(full, '#'), std::string(cells - full, '.'), line);
}

Progress::Progress(Output& out, const Clock& clock, std::string label, std::optional<std::uint64_t> totalBytes)
    : out_(out), clock_(clock), startedAt_(clock.steadyNow()), shownAt_(startedAt_) {
  sample_.label = std::move(label);
  sample_.totalBytes = totalBytes;
}

void Progress::update(std::uint64_t doneBytes) {
  sample_.doneBytes = doneBytes;
  const SteadyTime now = clock_.steadyNow();
  if (now - shownAt_ < (out_.notesOnTerminal() ? kTerminalInterval : kPlainInterval)) return;
  shownAt_ = now;
  sample_.elapsed = std::chrono::duration_cast<Millis>(now - startedAt_);
  if (out_.notesOnTerminal()) {
    out_.liveLine(progressBar(sample_, terminalColumns()));
  } else {
    out_.note(progressLine(sample_));
  }
}

void Progress::finish(std::string_view what) {
  sample_.elapsed = std::chrono::duration_cast<Millis>(clock_.steadyNow() - startedAt_);
  out_.note(fmt::format("{} {} in {:.1f} s ({:.1f} MiB/s)", what, formatBytes(sample_.doneBytes),
                        static_cast<double>(sample_.elapsed.count()) / 1000, bytesPerSecond(sample_) / (1024 * 1024)));
}

}  // namespace gs::cli

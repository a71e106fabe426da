#include "guest/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

namespace gs::guest {
namespace {

constexpr std::uint32_t kLongestSide = 10'000;

}  // namespace

std::optional<TerminalSize> terminalSize(std::uint32_t rows, std::uint32_t columns) {
  if (rows < 1 || rows > kLongestSide || columns < 1 || columns > kLongestSide) return std::nullopt;
  return TerminalSize{static_cast<unsigned short>(rows), static_cast<unsigned short>(columns)};
}

std::expected<Terminal, int> openTerminal(TerminalSize size) {
  Terminal out;
  out.ours = UniqueFd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!out.ours.isOpen()) return std::unexpected(errno);
  const int locked = 0;
  if (::ioctl(out.ours.get(), TIOCSPTLCK, &locked) != 0) return std::unexpected(errno);
  // By descriptor and not by name: /dev/pts may be another's, or not there.
  out.theirs = UniqueFd(::ioctl(out.ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!out.theirs.isOpen()) return std::unexpected(errno);
  termios settings{};
  if (::tcgetattr(out.theirs.get(), &settings) == 0) {
    // Erasing takes back a character and not a byte.
    settings.c_iflag |= IUTF8;
    ::tcsetattr(out.theirs.get(), TCSANOW, &settings);
  }
  resizeTerminal(out.ours, size);
  return out;
}

void resizeTerminal(const UniqueFd& ours, TerminalSize size) {
  const winsize cells{.ws_row = size.rows, .ws_col = size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(ours.get(), TIOCSWINSZ, &cells);
}

void typeEndOfFile(const UniqueFd& ours) {
  termios settings{};
  if (::tcgetattr(ours.get(), &settings) != 0 || (settings.c_lflag & ICANON) == 0) return;
  const auto character = static_cast<char>(settings.c_cc[VEOF]);
  [[maybe_unused]] const auto typed = ::write(ours.get(), &character, 1);
}

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)); }

}  // namespace gs::guest

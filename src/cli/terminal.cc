#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace gs::cli {
namespace {

constexpr TerminalSize kUsualSize{24, 80};
constexpr char kControlZ = 0x1a;

termios before;  // NOLINT: one terminal in a process

bool isNewLine(char key) { return key == '\r' || key == '\n'; }

}  // namespace

Status RawTerminal::check() {
  if (::isatty(STDIN_FILENO) == 1) return {};
  return fail(makeError(ErrorCode::kInvalidArgument, "standard input is no terminal")
                  .withFix("run it in a terminal, or without one: gstacks sandbox exec -i"));
}

void RawTerminal::enter() {
  if (raw_ || ::tcgetattr(STDIN_FILENO, &before) != 0) return;
  termios raw = before;
  ::cfmakeraw(&raw);
  raw_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void RawTerminal::restore() {
  if (!raw_) return;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  raw_ = false;
}

TerminalSize RawTerminal::size() {
  winsize cells{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &cells) != 0) return kUsualSize;
  const TerminalSize size{cells.ws_row, cells.ws_col};
  return isTerminalSize(size) ? size : kUsualSize;
}

EscapeFilter::Taken EscapeFilter::take(std::string_view keys) {
  Taken out;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const char key = keys[i];
    if (!tilde_) {
      if (lineStart_ && key == '~') {
        tilde_ = true;
        continue;
      }
      lineStart_ = isNewLine(key);
      out.typed += key;
      continue;
    }
    tilde_ = false;
    switch (key) {
      case '.': out.action = Action::kDisconnect; break;
      case '&': out.action = Action::kDetach; break;
      case kControlZ: out.action = Action::kSuspend; break;
      case '?': out.action = Action::kHelp; break;
      case '~': out.typed += '~'; break;
      default: out.typed += {'~', key}; break;
    }
    lineStart_ = out.action != Action::kNone || isNewLine(key);
    if (out.action == Action::kNone) continue;
    out.rest = keys.substr(i + 1);
    return out;
  }
  return out;
}

}  // namespace gs::cli

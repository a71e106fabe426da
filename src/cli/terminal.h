// Our own terminal while a remote program has it: raw, with a way back whatever happens.
//
// Raw means that every key goes to the program; the escapes of ssh(1) after a new line are the only ones that we take.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/terminal_size.h"

namespace gs::cli {

// Standard input's terminal. One at a time in a process.
class RawTerminal {
 public:
  // kFailedPrecondition: standard input is no terminal.
  [[nodiscard]] static Status check();
  RawTerminal() = default;
  ~RawTerminal() { restore(); }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  // Repeat is harmless, of both.
  void enter();
  void restore();
  [[nodiscard]] bool isRaw() const { return raw_; }
  // 80 x 24 when the terminal does not say.
  [[nodiscard]] static TerminalSize size();

 private:
  bool raw_ = false;
};

// Finds the escapes in what is typed. Pure.
//
// After a new line (and at the beginning) a tilde is held back until the next key: `.` ends the session, `&` leaves it
// running, Ctrl-Z suspends us, `?` shows help, another tilde is one tilde, and anything else is sent with the tilde before it.
class EscapeFilter {
 public:
  enum class Action : std::uint8_t { kNone, kDisconnect, kDetach, kSuspend, kHelp };
  struct Taken {
    std::string typed;  // for the program, before the action
    Action action = Action::kNone;
    std::string_view rest;  // of `keys`: to be given again after the action
  };
  [[nodiscard]] Taken take(std::string_view keys);

 private:
  bool lineStart_ = true;
  bool tilde_ = false;
};

inline constexpr std::string_view kEscapeHelp =
    "\r\nEscapes, after a new line:\r\n"
    "  ~.   end the session\r\n"
    "  ~&   leave it running (gstacks sandbox attach)\r\n"
    "  ~^Z  suspend gstacks\r\n"
    "  ~?   this help\r\n"
    "  ~~   a tilde\r\n";

}  // namespace gs::cli

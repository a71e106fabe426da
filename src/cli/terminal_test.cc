#include "cli/terminal.h"

#include <gtest/gtest.h>

namespace gs::cli {
namespace {

using Action = EscapeFilter::Action;

struct Typed {
  std::string sent;
  std::vector<Action> actions;
};

Typed type(EscapeFilter& filter, std::string_view keys) {
  Typed out;
  while (true) {
    const auto taken = filter.take(keys);
    out.sent += taken.typed;
    if (taken.action == Action::kNone) return out;
    out.actions.push_back(taken.action);
    keys = taken.rest;
  }
}

TEST(EscapeFilter, TakesEscapesAtTheBeginningOfALineOnly) {
  struct Row {
    std::string_view keys;
    std::string_view sent;
    std::vector<Action> actions;
    const char* why;
  };
  const Row rows[] = {
      {"ls\r", "ls\r", {}, "most of what is typed is nothing special"},
      {"~.", "", {Action::kDisconnect}, "the beginning is the beginning of a line"},
      {"a~.", "a~.", {}, "in the middle of a line a tilde is a tilde"},
      {"a\r~.", "a\r", {Action::kDisconnect}, "Enter begins a line"},
      {"a\n~.", "a\n", {Action::kDisconnect}, "so does Ctrl-J"},
      {"~~.", "~.", {}, "two tildes are one, and no escape follows"},
      {"~x", "~x", {}, "what is no escape loses nothing"},
      {"~\r~.", "~\r", {Action::kDisconnect}, "Enter after a tilde is a new line"},
      {"~?ls\r", "ls\r", {Action::kHelp}, "what follows help is typed"},
      {"~?~?", "", {Action::kHelp, Action::kHelp}, "help leaves the line at its beginning"},
      {"~\x1a~.", "", {Action::kSuspend, Action::kDisconnect}, "so does coming back"},
  };
  for (const auto& row : rows) {
    EscapeFilter filter;
    const auto typed = type(filter, row.keys);
    EXPECT_EQ(typed.sent, row.sent) << row.why;
    EXPECT_EQ(typed.actions, row.actions) << row.why;
  }
}

TEST(EscapeFilter, RemembersAcrossReads) {
  EscapeFilter filter;
  EXPECT_EQ(type(filter, "ls\r").sent, "ls\r");
  EXPECT_EQ(type(filter, "~").sent, "");
  EXPECT_EQ(type(filter, ".").actions, std::vector{Action::kDisconnect});
}

TEST(EscapeFilter, PassesEveryByteValueThrough) {
  std::string all;
  for (int value = 0; value < 256; ++value) all += static_cast<char>(value);
  EscapeFilter filter;
  // The tilde comes after `}`, so it is not at the beginning of a line.
  EXPECT_EQ(type(filter, all).sent, all);
}

}  // namespace
}  // namespace gs::cli

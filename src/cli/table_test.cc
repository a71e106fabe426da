#include "cli/table.h"

#include <gtest/gtest.h>

#include "cli/text_width.h"

namespace gs::cli {
namespace {

TEST(TextWidth, CountsTerminalColumns) {
  EXPECT_EQ(textWidth(""), 0u);
  EXPECT_EQ(textWidth("abc"), 3u);
  EXPECT_EQ(textWidth("é"), 1u);
  EXPECT_EQ(textWidth("e\u0301"), 1u);  // a combining accent takes no column
  EXPECT_EQ(textWidth("日本"), 4u);     // wide
  EXPECT_EQ(textWidth("🚀"), 2u);
  EXPECT_EQ(textWidth("ｆｕ"), 4u);      // fullwidth
  EXPECT_EQ(textWidth("a\u200bb"), 2u);  // zero width space
  EXPECT_EQ(textWidth("\xff\xfe"), 2u);  // not UTF-8: a column each
}

TEST(Printable, LeavesNothingThatMovesTheCursorOrTurnsTheText) {
  EXPECT_EQ(printable("plain é 日本"), "plain é 日本");
  EXPECT_EQ(printable("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(printable("a\nb\tc\rd\x7f"), "a\\x0ab\\x09c\\x0dd\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u{009b}31m");  // an 8-bit control
  EXPECT_EQ(printable("x\xe2\x80\xae"
                      "y"),
            "x\\u{202e}y");                                 // right-to-left override
  EXPECT_EQ(printable("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");  // never valid, overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printableLines("a\nb\x1b"), "a\nb\\x1b");
}

TEST(Table, AlignsByColumnsNotBytes) {
  Table table({{"NAME"}, {"SIZE", Align::kRight}, {"NOTE"}});
  table.add({"日本", "1 B", "x"});
  table.add({"plain", "1.5 GiB", ""});
  EXPECT_EQ(table.render(Colors::kOff),
            "NAME      SIZE  NOTE\n"
            "日本       1 B  x\n"
            "plain  1.5 GiB  -\n");
}

TEST(Table, ColoursDoNotDisturbTheAlignment) {
  Table table({{"STATE"}, {"NAME"}});
  table.add({stateCell("running"), "a"});
  table.add({stateCell("failed"), "b"});
  EXPECT_EQ(table.render(Colors::kOn),
            "STATE    NAME\n"
            "\x1b[32mrunning\x1b[0m  a\n"
            "\x1b[31mfailed\x1b[0m   b\n");
}

TEST(Table, ShowsForeignTextHarmless) {
  Table table({{"NAME"}});
  table.add({"\x1b]0;owned\x07"});
  EXPECT_EQ(table.render(Colors::kOn), "NAME\n\\x1b]0;owned\\x07\n");
}

TEST(Table, HasItsHeadingAlsoWithoutRows) {
  EXPECT_EQ(Table({{"A"}, {"B"}}).render(Colors::kOff), "A  B\n");
}

TEST(Properties, LeavesOutWhatIsEmpty) {
  Properties p;
  p.add("Name", "web");
  p.add("Reason", "");
  p.add("Host id", "h");
  p.addBlock("Tags", {"a=1", "b=2"});
  p.addBlock("None", {});
  EXPECT_EQ(p.render(Colors::kOff), "Name:    web\nHost id: h\nTags:\n  a=1\n  b=2\n");
}

TEST(StateCell, StatesThatThisVersionDoesNotKnowAreShownAsTheyAre) {
  EXPECT_EQ(stateCell("hibernating").text, "hibernating");
  EXPECT_EQ(stateCell("hibernating").tone, Tone::kBusy);
}

}  // namespace
}  // namespace gs::cli

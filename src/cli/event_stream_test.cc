#include "cli/event_stream.h"

#include <gtest/gtest.h>

namespace gs::cli {
namespace {

std::vector<std::string> parse(EventStreamParser& parser, std::string_view text, std::size_t step) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += step) {
    EXPECT_TRUE(parser.feed(text.substr(at, step), [&](const StreamEvent& event) {
      out.push_back(fmt::format("{} {} {}", event.id, event.name, event.data));
    }));
  }
  return out;
}

TEST(EventStreamParser, PutsEventsTogetherHoweverThePiecesAreCut) {
  constexpr std::string_view kText =
      "retry: 500\nid: 7\n\n: heartbeat\nid: 8\n\nid: 9\nevent: sandbox\ndata: {\"a\":1}\n\nid: 10\r\nevent: gap\r\ndata:x\r\ndata: y\r\n\r\n";
  for (std::size_t step = 1; step <= kText.size(); ++step) {
    EventStreamParser parser;
    EXPECT_EQ(parse(parser, kText, step), (std::vector<std::string>{"9 sandbox {\"a\":1}", "10 gap x\ny"})) << step;
    EXPECT_EQ(parser.lastId(), "10");
    EXPECT_EQ(parser.retry(), Millis(500));
  }
}

TEST(EventStreamParser, ForgetsAnEventThatBrokeOff) {
  EventStreamParser parser;
  EXPECT_TRUE(parse(parser, "id: 1\n\nid: 2\nevent: sandbox\ndata: half", 100).empty());
  EXPECT_EQ(parser.lastId(), "1") << "what was not complete was not seen";
  parser.reset();
  EXPECT_EQ(parse(parser, "id: 2\nevent: sandbox\ndata: whole\n\n", 100), (std::vector<std::string>{"2 sandbox whole"}));
}

TEST(EventStreamParser, RefusesALineWithoutAnEnd) {
  EventStreamParser parser;
  const std::string piece(700'000, 'x');
  EXPECT_TRUE(parser.feed(piece, [](const StreamEvent&) {}));
  EXPECT_FALSE(parser.feed(piece, [](const StreamEvent&) {}));
}

}  // namespace
}  // namespace gs::cli

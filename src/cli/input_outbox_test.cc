#include "cli/input_outbox.h"

#include <gtest/gtest.h>

namespace gs::cli {
namespace {

TEST(InputOutbox, SendsInPiecesAndKeepsUntilItIsAcknowledged) {
  InputOutbox box;
  box.push("0123456789");
  EXPECT_EQ(box.take(4), "0123");
  EXPECT_EQ(box.take(100), "456789");
  EXPECT_EQ(box.take(100), "");
  EXPECT_EQ(box.room(), InputOutbox::kWindow - 10);
  box.ack(7);
  EXPECT_EQ(box.room(), InputOutbox::kWindow - 3);
}

TEST(InputOutbox, ResumesFromTheByteThatTheFarEndWants) {
  InputOutbox box;
  box.push("0123456789");
  static_cast<void>(box.take(8));
  box.ack(3);
  EXPECT_FALSE(box.resume(2));
  EXPECT_FALSE(box.resume(9));
  EXPECT_TRUE(box.resume(5));
  EXPECT_EQ(box.take(100), "56789");
}

TEST(InputOutbox, HearsNoLies) {
  InputOutbox box;
  box.push("01234");
  static_cast<void>(box.take(3));
  box.ack(4);
  box.ack(2);
  box.ack(1);
  EXPECT_TRUE(box.resume(2));
  EXPECT_EQ(box.take(100), "234");
}

TEST(InputOutbox, StopsAtTheWindowAndGoesOnBehindIt) {
  InputOutbox box;
  box.push(std::string(InputOutbox::kWindow + 10, 'x'));
  EXPECT_EQ(box.room(), 0U);
  EXPECT_EQ(box.take(InputOutbox::kWindow * 2).size(), InputOutbox::kWindow);
  EXPECT_EQ(box.take(100), "");
  EXPECT_FALSE(box.isAtEnd());
  box.ack(4);
  EXPECT_EQ(box.take(100).size(), 4U);
}

TEST(InputOutbox, IsAtItsEndWhenAllIsSent) {
  InputOutbox box;
  EXPECT_FALSE(box.isAtEnd());
  box.push("ab");
  box.finish();
  EXPECT_FALSE(box.isAtEnd());
  static_cast<void>(box.take(100));
  EXPECT_TRUE(box.isAtEnd());
  EXPECT_TRUE(box.resume(1));
  EXPECT_FALSE(box.isAtEnd());
}

TEST(InputOutbox, KeepsNothingForAFarEndThatDoesNotTell) {
  InputOutbox box;
  box.push(std::string(1000, 'x'));
  static_cast<void>(box.take(600));
  box.forgetWhatIsSent();
  static_cast<void>(box.take(1000));
  EXPECT_EQ(box.room(), InputOutbox::kWindow);
  box.push("yz");
  EXPECT_EQ(box.take(5), "yz");
}

}  // namespace
}  // namespace gs::cli

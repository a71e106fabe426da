#include "guest/replay_buffer.h"

#include <gtest/gtest.h>

#include <random>

namespace gs::guest {
namespace {

constexpr auto kOut = OutputStream::kStdout;
constexpr auto kErr = OutputStream::kStderr;

// All from `offset` on, with a mark before each change of the stream.
std::string readFrom(const ReplayBuffer& buffer, std::uint64_t offset, std::size_t most = 1 << 20) {
  std::string out;
  std::optional<OutputStream> last;
  while (const auto piece = buffer.at(offset, most)) {
    if (piece->stream != last) out += piece->stream == kOut ? "<o>" : "<e>";
    last = piece->stream;
    out += piece->bytes;
    offset += piece->bytes.size();
  }
  return out;
}

TEST(ReplayBuffer, GivesFromEveryOffsetInTheOrderOfBothStreams) {
  ReplayBuffer buffer(1024);
  buffer.append(kOut, "abc");
  buffer.append(kErr, "DE");
  buffer.append(kOut, "f");
  EXPECT_EQ(buffer.end(), 6U);
  EXPECT_EQ(readFrom(buffer, 0), "<o>abc<e>DE<o>f");
  EXPECT_EQ(readFrom(buffer, 2), "<o>c<e>DE<o>f");
  EXPECT_EQ(readFrom(buffer, 3), "<e>DE<o>f");
  EXPECT_EQ(readFrom(buffer, 4), "<e>E<o>f");
  EXPECT_EQ(readFrom(buffer, 0, 1), "<o>abc<e>DE<o>f");
  EXPECT_EQ(readFrom(buffer, 6), "");
  EXPECT_EQ(readFrom(buffer, 7), "");
}

TEST(ReplayBuffer, KeepsConfirmedBytesUntilRoomIsNeeded) {
  ReplayBuffer buffer(1000);
  buffer.append(kOut, std::string(500, 'a'));
  ASSERT_TRUE(buffer.ack(500));
  EXPECT_EQ(buffer.begin(), 0U);
  const auto room = buffer.room();
  EXPECT_GT(room, 800U);
  buffer.append(kOut, std::string(room, 'b'));
  EXPECT_GT(buffer.begin(), 0U);
  EXPECT_LE(buffer.begin(), 500U);
  EXPECT_EQ(buffer.acked(), 500U);
  EXPECT_LE(buffer.memory(), 1000U);
}

TEST(ReplayBuffer, HasNoRoomForMoreThanCanBeKept) {
  ReplayBuffer buffer(1000);
  while (const auto room = buffer.room()) buffer.append(kErr, std::string(std::min<std::size_t>(room, 7), 'x'));
  EXPECT_EQ(buffer.begin(), 0U);
  EXPECT_LE(buffer.memory(), 1000U);
  ASSERT_TRUE(buffer.ack(10));
  EXPECT_EQ(buffer.room(), 10U);
}

TEST(ReplayBuffer, OldestMakesWayWhenNobodyConfirms) {
  ReplayBuffer buffer(300);
  for (char c = 'a'; c <= 'z'; ++c) buffer.append(kOut, std::string(50, c));
  EXPECT_EQ(buffer.end(), 26U * 50);
  EXPECT_EQ(buffer.acked(), buffer.begin());
  const auto kept = readFrom(buffer, buffer.begin());
  EXPECT_TRUE(kept.ends_with(std::string(50, 'y') + std::string(50, 'z')));
  EXPECT_GE(kept.size(), 200U);
  EXPECT_FALSE(buffer.at(buffer.begin() - 1, 1));
}

TEST(ReplayBuffer, AcknowledgesNothingThatWasNeverWrittenAndNeverGoesBack) {
  ReplayBuffer buffer(300);
  buffer.append(kOut, "12345");
  EXPECT_FALSE(buffer.ack(6));
  EXPECT_EQ(buffer.acked(), 0U);
  EXPECT_TRUE(buffer.ack(4));
  EXPECT_TRUE(buffer.ack(2));
  EXPECT_EQ(buffer.acked(), 4U);
}

TEST(ReplayBuffer, RewindsToWhatIsStillThereAndProtectsIt) {
  ReplayBuffer buffer(300);
  buffer.append(kOut, std::string(150, 'a'));
  ASSERT_TRUE(buffer.ack(150));
  EXPECT_EQ(buffer.rewind(20), 20U);
  const auto room = buffer.room();
  buffer.append(kOut, std::string(room, 'b'));
  EXPECT_LE(buffer.begin(), 20U);
  EXPECT_FALSE(buffer.rewind(buffer.end() + 1));
  buffer.append(kOut, std::string(290, 'c'));
  EXPECT_EQ(buffer.rewind(20), buffer.begin());
}

TEST(ReplayBuffer, DropsTheConfirmedOnRequest) {
  ReplayBuffer buffer(300);
  buffer.append(kOut, "0123456789");
  ASSERT_TRUE(buffer.ack(4));
  buffer.dropAcked();
  EXPECT_EQ(buffer.begin(), 4U);
  EXPECT_EQ(readFrom(buffer, 4), "<o>456789");
  EXPECT_FALSE(buffer.at(3, 10));
}

TEST(ReplayBuffer, SinglesOfAlternatingStreamsStayInBounds) {
  ReplayBuffer buffer(64 * 1024);
  for (int i = 0; i < 100'000; ++i) buffer.append(i % 2 == 0 ? kOut : kErr, "x");
  EXPECT_LE(buffer.memory(), 64U * 1024);
  EXPECT_GT(buffer.end() - buffer.begin(), 900U);
}

// Against the plain truth: everything that was ever written, in one string.
TEST(ReplayBuffer, AgreesWithAllThatWasWrittenWhateverHappens) {
  std::mt19937 random(7);  // NOLINT: the same each time
  const auto pick = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
  for (int round = 0; round < 50; ++round) {
    ReplayBuffer buffer(1000 + pick(60'000));
    std::string truth;
    for (int step = 0; step < 400; ++step) {
      switch (pick(4)) {
        case 0:
        case 1: {
          const auto count = std::min(buffer.room(), pick(20'000));
          const auto before = buffer.acked();
          std::string bytes(count, '\0');
          for (auto& c : bytes) c = static_cast<char>(random());
          buffer.append(pick(1) == 0 ? kOut : kErr, bytes);
          truth += bytes;
          ASSERT_EQ(buffer.acked(), before);
          break;
        }
        case 2: ASSERT_TRUE(buffer.ack(buffer.acked() + pick(buffer.end() - buffer.acked()))); break;
        case 3: buffer.dropAcked(); break;
        default: {
          const auto from = buffer.rewind(buffer.begin() + pick(buffer.end() - buffer.begin()));
          ASSERT_TRUE(from);
          std::string read;
          while (const auto piece = buffer.at(*from + read.size(), 1 + pick(5'000))) read += piece->bytes;
          ASSERT_EQ(read, truth.substr(*from));
        }
      }
      ASSERT_LE(buffer.begin(), buffer.acked());
      ASSERT_EQ(buffer.end(), truth.size());
    }
  }
}

}  // namespace
}  // namespace gs::guest

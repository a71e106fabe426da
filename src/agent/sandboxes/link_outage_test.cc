#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "agent/sandboxes/link_outage.h"
#include "async/run_task.h"

namespace gs {
namespace {

// A clock whose two faces move apart.
class TwoClocks final : public Clock {
 public:
  [[nodiscard]] WallTime wallNow() const override { return wall; }
  [[nodiscard]] SteadyTime steadyNow() const override { return steady; }
  void advance(Millis by) {
    wall += by;
    steady += by;
  }
  WallTime wall = fromUnixMillis(1'767'323'045'678);
  SteadyTime steady{Millis(5'000)};
};

class LinkOutageTest : public ::testing::Test {
 protected:
  LinkOutageTest() : database_(migrated()), journal_(database_) {}
  static Database migrated() {
    auto database = Database::openInMemory().value();
    EXPECT_TRUE(migrate(database, std::vector<Migration>(std::begin(kJournalMigrations), std::end(kJournalMigrations))));
    return database;
  }
  // The agent begins, in that boot of the host.
  void begin(std::string boot = "boot-1") {
    outage_ = std::make_unique<LinkOutage>(journal_, clock_, std::move(boot));
    EXPECT_TRUE(runTask(loop_, outage_->recover()));
  }
  void remember() { EXPECT_TRUE(runTask(loop_, outage_->remember())); }

  asio::io_context loop_;
  TwoClocks clock_;
  DatabaseThread database_;
  Journal journal_;
  std::unique_ptr<LinkOutage> outage_;
};

TEST_F(LinkOutageTest, CountsByTheMonotonicClockWhileTheAgentRuns) {
  begin();
  EXPECT_EQ(outage_->downFor(), Millis(0)) << "nothing is known of before";
  outage_->linkUp();
  EXPECT_FALSE(outage_->downFor());
  outage_->linkDown();
  clock_.advance(Seconds(30));
  clock_.wall += std::chrono::hours(9);
  outage_->linkDown();
  EXPECT_EQ(outage_->downFor(), Millis(30'000));
}

TEST_F(LinkOutageTest, GoesOnOverARestartOfTheAgentWhateverTheWallClockDoes) {
  begin();
  outage_->linkUp();
  outage_->linkDown();
  clock_.advance(Seconds(7));
  remember();
  clock_.advance(Seconds(5));
  clock_.wall -= std::chrono::hours(3);
  begin();
  EXPECT_EQ(outage_->downFor(), Millis(12'000));
  clock_.advance(Seconds(1));
  EXPECT_EQ(outage_->downFor(), Millis(13'000));
}

TEST_F(LinkOutageTest, AnAgentThatDiedWithALinkMayHaveHadItUntilTheNextWordWasDue) {
  begin();
  outage_->linkUp();
  remember();
  clock_.advance(Seconds(40));
  begin();
  EXPECT_EQ(outage_->downFor(), Millis(10'000));
}

TEST_F(LinkOutageTest, OverARebootItCountsByTheWallClockButNeverBackwards) {
  begin();
  outage_->linkUp();
  outage_->linkDown();
  remember();
  clock_.steady = SteadyTime(Millis(100));
  clock_.wall += std::chrono::minutes(5);
  begin("boot-2");
  EXPECT_EQ(outage_->downFor(), Millis(300'000));
  clock_.wall -= std::chrono::hours(24);
  begin("boot-3");
  EXPECT_EQ(outage_->downFor(), Millis(0));
}

TEST_F(LinkOutageTest, AMemoryThatCannotBeReadIsNone) {
  EXPECT_TRUE(runTask(loop_, journal_.writeValue("link_outage", "boot-1 12 x")));
  begin();
  EXPECT_EQ(outage_->downFor(), Millis(0));
}

}  // namespace
}  // namespace gs

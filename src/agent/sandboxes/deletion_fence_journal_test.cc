#include <gtest/gtest.h>

#include "agent/core/deletion_fence.h"
#include "agent/sandboxes/journal.h"
#include "async/run_task.h"

namespace gs {
namespace {

class ReleasesTest : public ::testing::Test {
 protected:
  ReleasesTest() : database_(migrated()), journal_(database_) {}

  static Database migrated() {
    auto database = Database::openInMemory().value();
    EXPECT_TRUE(migrate(database, std::vector<Migration>(std::begin(kJournalMigrations), std::end(kJournalMigrations))));
    return database;
  }
  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }

  asio::io_context loop_;
  DatabaseThread database_;
  Journal journal_;
  const SandboxId a_ = SandboxId::make();
  const SandboxId b_ = SandboxId::make();
};

TEST_F(ReleasesTest, KeepsWhatWasReleasedUntilTheSandboxIsForgotten) {
  EXPECT_TRUE(run(journal_.loadAnswers({}))->empty());
  ASSERT_TRUE(run(journal_.release({{a_, 3}, {b_, 4}})));
  ASSERT_TRUE(run(journal_.release({{a_, 5}})));
  auto releases = run(journal_.loadAnswers({{a_, 9}, {b_, 9}})).value();
  EXPECT_EQ(releases[a_].released, 5U) << "what is wished later is not released by asking";
  EXPECT_EQ(releases[b_].released, 4U);
  ASSERT_TRUE(run(journal_.forget(a_)));
  releases = run(journal_.loadAnswers({})).value();
  EXPECT_FALSE(releases.contains(a_));
  EXPECT_TRUE(releases.contains(b_));
}

TEST_F(ReleasesTest, KeepsWhatWasRefusedLikewise) {
  ASSERT_TRUE(run(journal_.refuse({{a_, 3}, {b_, 4}})));
  ASSERT_TRUE(run(journal_.release({{b_, 5}})));
  auto answers = run(journal_.loadAnswers({})).value();
  EXPECT_EQ(answers[a_].refused, 3U);
  EXPECT_EQ(answers[a_].released, 0U);
  EXPECT_EQ(answers[b_].refused, 4U);
  EXPECT_EQ(answers[b_].released, 5U);
  ASSERT_TRUE(run(journal_.forget(a_)));
  EXPECT_FALSE(run(journal_.loadAnswers({}))->contains(a_));
}

TEST_F(ReleasesTest, LetsWhatAnEarlierVersionBeganGoOn) {
  EXPECT_EQ(run(journal_.loadAnswers({{a_, 3}})).value()[a_].released, 3U);
  EXPECT_EQ(run(journal_.loadAnswers({{a_, 3}, {b_, 2}})).value().contains(b_), false) << "only the first time";
}

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "async/run_task.h"
#include "db/database_thread.h"

namespace gs {
namespace {

const std::vector<Migration> kSteps{{"0001_first", "CREATE TABLE item (id TEXT PRIMARY KEY, size BIGINT, data BYTEA)"}};

std::string temporaryPath(std::string_view name) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("gs-db-{}-{}", name, ::getpid());
  std::filesystem::remove(path);
  return path.string();
}

TEST(Database, BindsByNumberWhateverTheOrderInTheText) {
  auto database = Database::openInMemory().value();
  ASSERT_TRUE(migrate(database, kSteps));
  ASSERT_TRUE(database.execute("INSERT INTO item (size, id, data) VALUES ($2, $1, $3)",
                               {std::string("a"), std::int64_t{7}, Blob{std::string("\0x", 2)}}));
  const auto row = database.queryOne("SELECT id, size, data FROM item WHERE size = $1", {std::int64_t{7}},
                                     [](const Row& r) { return std::pair(r.text(0), r.text(2)); });
  EXPECT_EQ(row.value().value(), std::pair(std::string("a"), std::string("\0x", 2)));
}

TEST(Database, MapsUniqueViolationsAndMissingValues) {
  auto database = Database::openInMemory().value();
  ASSERT_TRUE(migrate(database, kSteps));
  ASSERT_TRUE(database.execute("INSERT INTO item (id) VALUES ($1)", {std::string("a")}));
  EXPECT_EQ(database.execute("INSERT INTO item (id) VALUES ($1)", {std::string("a")}).error().code,
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(database.execute("INSERT INTO item (id) VALUES ($1)").error().code, ErrorCode::kInternal);
}

TEST(Database, RollsBackWhatWasNotCommitted) {
  auto database = Database::openInMemory().value();
  ASSERT_TRUE(migrate(database, kSteps));
  {
    auto transaction = Transaction::begin(database).value();
    ASSERT_TRUE(database.execute("INSERT INTO item (id) VALUES ($1)", {std::string("a")}));
  }
  EXPECT_FALSE(database.queryOne("SELECT id FROM item", {}, [](const Row& r) { return r.text(0); }).value());
}

TEST(Migrate, RefusesADatabaseOfANewerVersionAndTouchesNothing) {
  auto database = Database::openInMemory().value();
  ASSERT_TRUE(migrate(database, kSteps));
  ASSERT_TRUE(migrate(database, kSteps));
  ASSERT_TRUE(database.execute("INSERT INTO schema_migrations VALUES ('0002_future', 0)"));
  const auto status = migrate(database, kSteps);
  EXPECT_EQ(status.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_NE(status.error().message.find("0002_future"), std::string::npos);
}

TEST(Migrate, AStepThatOnlyAddsIsNoneOfAnOlderVersionsBusiness) {
  auto database = Database::openInMemory().value();
  auto newer = kSteps;
  newer.push_back({"0002_more", "ALTER TABLE item ADD COLUMN more TEXT NOT NULL DEFAULT 'none'", Tolerance::kAddsOnly});
  ASSERT_TRUE(migrate(database, newer));
  ASSERT_TRUE(migrate(database, newer)) << "it is not run twice";
  ASSERT_TRUE(migrate(database, kSteps)) << "the older version opens it";
  ASSERT_TRUE(database.execute("INSERT INTO item (id) VALUES ($1)", {std::string("a")}));
  ASSERT_TRUE(migrate(database, newer));
  const auto more = database.queryOne("SELECT more FROM item", {}, [](const Row& r) { return r.text(0); });
  EXPECT_EQ(more.value().value(), "none");
  // As a version would see it that was made before there were such steps.
  const auto recorded = database.queryOne("SELECT count(*) FROM schema_migrations", {}, [](const Row& r) { return r.integer(0); });
  EXPECT_EQ(recorded.value().value(), 1);
}

TEST(Database, ACopyHasAllThatWasThereAndGoesItsOwnWay) {
  const std::string path = temporaryPath("image");
  auto database = Database::open(path).value();
  ASSERT_TRUE(migrate(database, kSteps));
  ASSERT_TRUE(database.execute("INSERT INTO item (id) VALUES ($1)", {std::string("a")}));
  auto copy = Database::openImage(database.image().value()).value();
  ASSERT_TRUE(migrate(copy, kSteps));
  ASSERT_TRUE(copy.execute("INSERT INTO item (id) VALUES ($1)", {std::string("b")}));
  const auto count = [](Database& db) {
    return db.queryOne("SELECT count(*) FROM item", {}, [](const Row& r) { return r.integer(0); }).value().value();
  };
  EXPECT_EQ(count(copy), 2);
  EXPECT_EQ(count(database), 1);
  std::filesystem::remove(path);
}

TEST(Database, RefusesAFileThatIsNoDatabase) {
  const std::string path = temporaryPath("garbage");
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_EQ(Database::open(path).error().code, ErrorCode::kDataLoss);
  std::filesystem::remove(path);
}

TEST(DatabaseThread, CommitsATransactionOnlyWhenItsWorkSucceeds) {
  asio::io_context loop;
  auto database = Database::openInMemory().value();
  ASSERT_TRUE(migrate(database, kSteps));
  DatabaseThread thread(std::move(database));
  const auto failed = runTask(loop, thread.transact([](Database& db) -> Status {
    GS_CHECK(db.execute("INSERT INTO item (id) VALUES ('a')"));
    return fail(ErrorCode::kAborted, "deliberate");
  }));
  EXPECT_EQ(failed.error().code, ErrorCode::kAborted);
  const auto done = runTask(loop, thread.transact([](Database& db) -> Status {
    GS_CHECK(db.execute("INSERT INTO item (id) VALUES ('b')"));
    return {};
  }));
  ASSERT_TRUE(done);
  const auto ids = runTask(loop, thread.run([](Database& db) -> Result<std::vector<std::string>> {
    std::vector<std::string> out;
    GS_CHECK(db.query("SELECT id FROM item", {}, [&](const Row& r) { out.push_back(r.text(0)); }));
    return out;
  }));
  EXPECT_EQ(ids.value(), std::vector<std::string>{"b"});
}

}  // namespace
}  // namespace gs

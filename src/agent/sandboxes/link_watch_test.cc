#include "agent/sandboxes/link_watch.h"

#include <gtest/gtest.h>

#include "async/deadline.h"
#include "async/event.h"
#include "async/run_task.h"

namespace gs {
namespace {

// Does the work at once, on the loop, or fails it for a while.
struct BadDisk final : WorkRunner {
  explicit BadDisk(asio::io_context& l) : loop(l) {}
  void submit(Job job) override {
    asio::post(loop, [this, job = std::move(job)]() mutable {
      if (failures == 0) return job(Status());
      --failures;
      job(fail(ErrorCode::kResourceExhausted, "the disk is full"));
    });
  }
  asio::io_context& loop;
  int failures = 0;
};

std::shared_ptr<Database> migrated() {
  auto database = std::make_shared<Database>(Database::openInMemory().value());
  const std::vector<Migration> migrations(std::begin(kJournalMigrations), std::end(kJournalMigrations));
  EXPECT_TRUE(migrate(*database, migrations));
  return database;
}

class LinkWatchTest : public ::testing::Test {
 protected:
  LinkWatchTest() : disk_(loop_), database_(migrated(), disk_), journal_(database_) {}
  std::unique_ptr<LinkWatch> begin() {
    auto watch = std::make_unique<LinkWatch>(
        loop_.get_executor(), journal_, clock_, "boot-1", LinkWatch::Sandboxes{[] { return false; }, [this] { changed_.notifyAll(); }});
    return watch;
  }

 public:
  // An agent that dies right after it would take that link for a part of the outage, if the word of it was not on disk.
  Task<void> writesUntilTheDiskTakesIt() {
    auto watch = begin();
    EXPECT_TRUE(co_await watch->recover());
    watch->begin();
    watch->linkUp();
    EXPECT_TRUE(watch->downFor()) << "it has not lasted yet";
    disk_.failures = 3;
    while (watch->downFor()) co_await changed_.waitUntil(Deadline::never());
    const auto deadline = Deadline::after(Millis(30'000));
    std::string word;
    while (!word.ends_with(" -1") && !deadline.expired()) {
      word = (co_await journal_.readValue("link_outage")).value_or("");
      co_await sleepFor(Millis(5));
    }
    EXPECT_TRUE(word.ends_with(" -1")) << word;
    co_await watch->stop();
  }

  asio::io_context loop_;

 protected:
  BadDisk disk_;
  DatabaseThread database_;
  Journal journal_;
  SystemClock clock_;
  Event changed_{loop_.get_executor()};
};

TEST_F(LinkWatchTest, SaysThatThereIsALinkUntilTheDiskTakesIt) { runTask(loop_, writesUntilTheDiskTakesIt()); }

}  // namespace
}  // namespace gs

#include <gtest/gtest.h>

#include <utility>

#include "async/async_mutex.h"
#include "async/backoff.h"
#include "async/blocking_pool.h"
#include "async/channel.h"
#include "async/run_task.h"
#include "async/task_group.h"
#include "async/with_deadline.h"

namespace gs {
namespace {

Task<Result<int>> answerLate(Millis delay) {
  co_await sleepFor(delay);
  co_return 42;
}

Task<void> runForever(bool* ended) {
  struct Mark {
    bool* flag;
    ~Mark() { *flag = true; }
  } const mark{ended};
  co_await sleepUntil(Deadline::never());
}

TEST(WithDeadline, GivesTheResultThatComesInTime) {
  asio::io_context loop;
  const auto result = runTask(loop, withDeadline(Deadline::after(Millis(5000)), "answer", answerLate(Millis(1))));
  EXPECT_EQ(result.value(), 42);
}

TEST(WithDeadline, CancelsAndNamesWhatTookTooLong) {
  asio::io_context loop;
  const auto result = runTask(loop, withDeadline(Deadline::after(Millis(5)), "answer", answerLate(Millis(60'000))));
  EXPECT_EQ(result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(result.error().message, "answer took too long");
}

Task<void> cancelGroup(TaskGroup* group, bool* ended) {
  group->spawn("forever", runForever(ended));
  co_await sleepFor(Millis(1));
  co_await group->cancelAndJoin();
}

TEST(TaskGroup, CancelAndJoinEndsEveryTask) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  bool ended = false;
  runTask(loop, cancelGroup(&group, &ended));
  EXPECT_TRUE(ended);
  EXPECT_EQ(group.size(), 0U);
}

Task<void> throwSomething() {
  co_await sleepFor(Millis(0));
  throw std::runtime_error("deliberate");
}

Task<void> spawnThrowing(TaskGroup* group) {
  group->spawn("thrower", throwSomething());
  co_await group->join();
}

TEST(TaskGroup, SurvivesATaskThatThrows) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  runTask(loop, spawnThrowing(&group));
  EXPECT_EQ(group.size(), 0U);
}

Task<void> produce(Channel<int>* channel, int count) {
  for (int i = 0; i < count; ++i) co_await channel->push(i);
  channel->close();
}

Task<std::vector<int>> consume(TaskGroup* group, Channel<int>* channel) {
  group->spawn("produce", produce(channel, 10));
  std::vector<int> out;
  while (auto value = co_await channel->pop()) out.push_back(*value);
  co_await group->join();
  co_return out;
}

TEST(Channel, KeepsOrderThroughABoundOfTwo) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  Channel<int> channel(loop.get_executor(), 2);
  EXPECT_EQ(runTask(loop, consume(&group, &channel)), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_FALSE(channel.tryPush(1));
}

// Keeps jobs until the test says what becomes of them.
class KeepingRunner final : public WorkRunner {
 public:
  void submit(Job job) override { jobs.push_back(std::move(job)); }
  std::vector<Job> jobs;
};

TEST(BlockingPool, LetsARunnerDecideWhenAndWhetherWorkIsDone) {
  asio::io_context loop;
  KeepingRunner runner;
  BlockingPool pool(runner);
  int done = 0;
  std::vector<Result<int>> results;
  const auto work = [&] { return Result<int>(++done); };
  const auto keep = [&](const std::exception_ptr&, Result<int> result) { results.push_back(std::move(result)); };
  asio::co_spawn(loop, pool.run(work), keep);
  asio::co_spawn(loop, pool.run(work), keep);
  loop.poll();
  ASSERT_EQ(runner.jobs.size(), 2U);
  EXPECT_EQ(done, 0);
  runner.jobs[0](fail(ErrorCode::kResourceExhausted, "full"));
  runner.jobs[1](Status());
  loop.restart();
  loop.poll();
  ASSERT_EQ(results.size(), 2U);
  EXPECT_EQ(results[0].error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(results[1].value(), 1);
}

TEST(BlockingPool, ResumesWithTheResultAndTurnsExceptionsIntoErrors) {
  asio::io_context loop;
  BlockingPool pool(2);
  EXPECT_EQ(runTask(loop, pool.run([]() -> Result<int> { return 7; })).value(), 7);
  const auto thrown = runTask(loop, pool.run([]() -> Result<int> { throw std::runtime_error("deliberate"); }));
  EXPECT_EQ(thrown.error().code, ErrorCode::kInternal);
}

Task<void> critical(AsyncMutex* mutex, int* inside, int* most) {
  const auto guard = co_await mutex->lock();
  *most = std::max(*most, ++*inside);
  co_await sleepFor(Millis(1));
  --*inside;
}

Task<void> contend(TaskGroup* group, AsyncMutex* mutex, int* inside, int* most) {
  for (int i = 0; i < 5; ++i) group->spawn("critical", critical(mutex, inside, most));
  co_await group->join();
}

TEST(AsyncMutex, LetsOneInAtATime) {
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  AsyncMutex mutex(loop.get_executor());
  int inside = 0;
  int most = 0;
  runTask(loop, contend(&group, &mutex, &inside, &most));
  EXPECT_EQ(most, 1);
}

TEST(Backoff, StaysWithinTheCeilingAndSpreads) {
  Backoff backoff(Millis(100), Millis(1000), 1);
  Millis highest(0);
  for (int i = 0; i < 100; ++i) {
    const auto wait = backoff.next();
    EXPECT_LE(wait, Millis(1000));
    highest = std::max(highest, wait);
  }
  EXPECT_GT(highest, Millis(800));
  backoff.reset();
  EXPECT_LE(backoff.next(), Millis(100));
}

}  // namespace
}  // namespace gs

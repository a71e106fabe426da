// Sessions against the real guest: what survives a connection, and a guest that lies about them.
#include <gtest/gtest.h>

#include "agent/guest_channel/guest_test_process.h"

namespace gs {
namespace {

Deadline soon() { return Deadline::after(Millis(20'000)); }
ProcessSpec shell(std::string script) { return {{"/bin/sh", "-c", std::move(script)}, {}, "", ""}; }

class GuestSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    listen();
    guest_.emplace(folder_.socketPath());
    channel_->setExpectedPid(guest_->pid());
    ASSERT_TRUE(run(channel_->openGate({std::nullopt, {}, "sbx_test"}, soon())));
  }
  void TearDown() override { run(channel_->close()); }
  void listen() {
    auto channel = listenForGuest(loop_.get_executor(), {.socketPath = folder_.socketPath(), .sandboxId = "sbx_test"});
    ASSERT_TRUE(channel) << channel.error().describe();
    channel_ = std::move(*channel);
  }
  template <class T>
  T run(Task<T> task) {
    return runWithin(loop_, std::move(task));
  }
  std::unique_ptr<GuestExec> start(ProcessSpec spec, std::string id = "ses_one", Millis grace = Millis(60'000),
                                   SessionLifetime lifetime = SessionLifetime::kGrace) {
    spec.session = SessionSpec{std::move(id), "me", "client", lifetime, grace};
    auto exec = run(channel_->startExec(std::move(spec), soon()));
    EXPECT_TRUE(exec) << exec.error().describe();
    return exec ? std::move(*exec) : nullptr;
  }
  Result<std::unique_ptr<GuestExec>> attach(std::optional<std::uint64_t> offset, std::string owner = "me",
                                            AttachSpec::Mode mode = AttachSpec::Mode::kWrite, std::string client = "client") {
    return run(channel_->attachSession({"ses_one", {std::move(owner), SessionClaim::Reach::kOwn}, std::move(client), mode, offset}, soon()));
  }
  // Until there are so many bytes, or the end.
  std::string read(GuestExec& exec, std::size_t count) {
    std::string out;
    while (out.size() < count) {
      auto event = run(exec.next());
      if (!event) break;
      if (auto* data = std::get_if<ExecStdout>(&*event)) out += data->data;
      if (auto* data = std::get_if<ExecStderr>(&*event)) out += data->data;
      if (std::holds_alternative<ProcessExit>(*event)) break;
    }
    return out;
  }
  std::optional<SessionSummary> summary(const std::string& id = "ses_one") {
    const auto all = run(channel_->listSessions(soon()));
    if (!all) return std::nullopt;
    for (const auto& one : *all) {
      if (one.id == id) return one;
    }
    return std::nullopt;
  }
  Task<void> nap() { co_await sleepFor(Millis(5)); }
  bool becomes(SessionSummary::State state) {
    for (const auto deadline = soon(); !deadline.expired(); run(nap())) {
      if (const auto seen = summary(); seen && seen->state == state) return true;
    }
    return false;
  }

  asio::io_context loop_;
  GuestFolder folder_;
  std::optional<GuestProcess> guest_;
  std::unique_ptr<GuestChannel> channel_;
};

TEST_F(GuestSessionTest, GoesOnWhereAnotherConnectionEnded) {
  auto exec = start(shell("printf 0123456789; read -r x; printf $x; exit 4"));
  ASSERT_TRUE(exec->session());
  EXPECT_EQ(read(*exec, 10), "0123456789");
  exec->close();
  auto again = attach(4);
  ASSERT_TRUE(again) << again.error().describe();
  EXPECT_EQ((*again)->session()->outputOffset, 4U);
  EXPECT_EQ(read(**again, 6), "456789");
  EXPECT_TRUE(run((*again)->write("ab\n")));
  (*again)->close();
  ASSERT_TRUE(becomes(SessionSummary::State::kEnded));
  auto last = attach(10);
  ASSERT_TRUE(last);
  EXPECT_EQ((*last)->session()->inputOffset, 3U);
  EXPECT_EQ(read(**last, 2), "ab");
  const auto end = run((*last)->next());
  ASSERT_TRUE(end);
  EXPECT_EQ(std::get<ProcessExit>(*end), (ProcessExit{4, 0, ""}));
}

TEST_F(GuestSessionTest, OutlivesTheChannelOfTheAgent) {
  auto exec = start(shell("echo one; read -r x; echo two"));
  EXPECT_EQ(read(*exec, 4), "one\n");
  exec->close();
  run(channel_->close());
  listen();
  channel_->setExpectedPid(guest_->pid());
  auto again = attach(4);
  ASSERT_TRUE(again) << again.error().describe();
  EXPECT_TRUE(run((*again)->write("\n")));
  EXPECT_EQ(read(**again, 4), "two\n");
}

TEST_F(GuestSessionTest, MakesTheProgramWaitForAcknowledgementsAndNoLonger) {
  auto exec = start(shell("head -c 1000000 /dev/zero"));
  auto received = read(*exec, 200'000).size();
  EXPECT_LE(summary()->outputBytes, 256U * 1024);
  while (received < 1'000'000) {
    // The last ones may be for a session that has ended.
    (void)run(exec->ack(received));
    const auto more = read(*exec, 100'000).size();
    ASSERT_GT(more, 0U);
    received += more;
  }
  EXPECT_EQ(received, 1'000'000U);
}

TEST_F(GuestSessionTest, TakesAnswersWhileTheProgramDoesNotReadItsInput) {
  auto exec = start(shell("head -c 1000000 /dev/zero; cat | wc -c"));
  EXPECT_TRUE(run(exec->write(std::string(256 * 1024, 'x'))));
  EXPECT_TRUE(run(exec->writeEof()));
  std::string out;
  while (out.size() < 1'000'007) {
    const auto more = read(*exec, 60'000);
    ASSERT_FALSE(more.empty());
    out += more;
    // The last one is for a session that has ended.
    (void)run(exec->ack(out.size()));
  }
  EXPECT_TRUE(out.ends_with("262144\n"));
}

TEST_F(GuestSessionTest, IsHungUpWhenTheGraceTimeIsOver) {
  auto exec = start(shell("sleep 1000"), "ses_one", Millis(0));
  exec->close();
  ASSERT_TRUE(becomes(SessionSummary::State::kEnded));
  EXPECT_EQ(summary()->exit.signal, SIGHUP);
}

TEST_F(GuestSessionTest, HearsTheLastWordsOfAConnectionThatIsFull) {
  auto exec = start(shell("yes"));
  // Nothing was read: the guest may be in the middle of sending when it finds the connection closed.
  EXPECT_TRUE(run(exec->leave(SessionLeave::kDetach)));
  exec->close();
  ASSERT_TRUE(becomes(SessionSummary::State::kDetached));
  const auto before = summary()->outputBytes;
  for (const auto deadline = soon(); !deadline.expired() && summary()->outputBytes == before;) run(nap());
  EXPECT_GT(summary()->outputBytes, before);
  EXPECT_TRUE(run(channel_->endSession("ses_one", {"me", {}}, soon())));
}

TEST_F(GuestSessionTest, IsForItsOwnerOnly) {
  auto exec = start({{"cat"}, {}, "", ""});
  EXPECT_EQ(attach(0, "you").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(run(channel_->endSession("ses_one", {"you", SessionClaim::Reach::kOwn}, soon())).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(attach(1).error().code, ErrorCode::kFailedPrecondition) << "an offset that was never written";
  EXPECT_EQ(attach(0, "me", AttachSpec::Mode::kWrite, "another").error().reason, "session_in_use");
  EXPECT_TRUE(run(channel_->endSession("ses_one", {"", SessionClaim::Reach::kAll}, soon())));
}

TEST_F(GuestSessionTest, RefusesTheSameIdTwice) {
  auto exec = start({{"cat"}, {}, "", ""});
  ProcessSpec twin{{"cat"}, {}, "", ""};
  twin.session = SessionSpec{"ses_one", "me", "client", SessionLifetime::kGrace, Millis(1'000)};
  EXPECT_FALSE(run(channel_->startExec(std::move(twin), soon())));
}

TEST_F(GuestSessionTest, ListsAndRemembersNoMoreThanItShould) {
  for (int i = 0; i < 70; ++i) {
    auto exec = start({{"true"}, {}, "", ""}, fmt::format("ses_{:03}", i));
    for (auto event = run(exec->next()); event && !std::holds_alternative<ProcessExit>(*event);) event = run(exec->next());
  }
  const auto all = run(channel_->listSessions(soon()));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 64U);
  EXPECT_EQ(all->back().id, "ses_069");
  EXPECT_EQ(all->front().id, "ses_006");
}

TEST_F(GuestSessionTest, ListsMoreThanFitsOneAnswer) {
  std::vector<std::unique_ptr<GuestExec>> running;
  for (int i = 0; i < 160; ++i) running.push_back(start({{"cat"}, {}, "", ""}, fmt::format("ses_{:03}", i)));
  const auto all = run(channel_->listSessions(soon()));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 160U);
  EXPECT_TRUE(std::ranges::is_sorted(*all, {}, &SessionSummary::id));
}

TEST_F(GuestSessionTest, CostsABoundedAmountOfMemory) {
  const long before = guest_->residentKib();
  auto exec = start(shell("head -c 200000000 /dev/zero; sleep 1000"), "ses_one", Millis(60'000), SessionLifetime::kDetached);
  EXPECT_TRUE(run(exec->leave(SessionLeave::kDetach)));
  exec->close();
  for (const auto deadline = soon(); !deadline.expired() && summary()->outputBytes < 200'000'000;) run(nap());
  EXPECT_EQ(summary()->outputBytes, 200'000'000U);
  EXPECT_LT(guest_->residentKib() - before, 1024);
  EXPECT_TRUE(run(channel_->endSession("ses_one", {"me", {}}, soon())));
}

}  // namespace
}  // namespace gs

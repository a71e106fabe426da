#include "server/sandboxes/event_feed.h"

#include "server/store/store_fixture.h"

namespace gs {
namespace {

using End = EventFeed::Batch::End;

class EventFeedTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    wakeUp_ = std::make_unique<SandboxEvents>(loop_.get_executor());
    settings_.heartbeat = Millis(0);  // what is there now, and no wait
    settings_.batch = 3;
    settings_.maxPerTenant = 2;
    settings_.maxInAll = 3;
    feed_ = std::make_unique<EventFeed>(loop_.get_executor(), *store_, *wakeUp_, settings_);
  }
  Result<std::unique_ptr<EventFeed::Follower>> follow(const Actor& actor, std::optional<std::int64_t> after = std::nullopt,
                                                      std::optional<SandboxId> sandbox = std::nullopt) {
    return run(feed_->follow(actor.tenantId, std::move(sandbox), after, [this] { return left_; }));
  }
  EventFeed::Batch next(EventFeed::Follower& follower) { return run(follower.next()).value(); }
  // All that there is now.
  std::vector<std::int64_t> drain(EventFeed::Follower& follower) {
    std::vector<std::int64_t> out;
    while (true) {
      const auto batch = next(follower);
      for (const auto& event : batch.items) out.push_back(event.sequence);
      if (batch.items.empty()) return out;
    }
  }
  void change(const SandboxRecord& s, std::uint64_t sequence) {
    observe(s, 1, sequence, sequence % 2 == 0 ? SandboxState::kRunning : SandboxState::kStarting);
    wakeUp_->notify(s.id);
  }

  EventFeedSettings settings_;
  std::unique_ptr<SandboxEvents> wakeUp_;
  std::unique_ptr<EventFeed> feed_;
  bool left_ = false;
};

TEST_F(EventFeedTest, GivesEachEventOnceWhereverAFollowerBreaksOff) {
  const auto s = addSandbox(acme_);
  for (std::uint64_t n = 1; n <= 7; ++n) change(s, n);
  const auto all = drain(*follow(acme_, 0).value());
  ASSERT_EQ(all.size(), 8U);
  for (const auto position : all) {
    const auto rest = drain(*follow(acme_, position).value());
    EXPECT_EQ(rest, std::vector<std::int64_t>(std::upper_bound(all.begin(), all.end(), position), all.end())) << position;
  }
  EXPECT_TRUE(drain(*follow(acme_).value()).empty()) << "without a position it begins now";
}

TEST_F(EventFeedTest, WakesForAChangeAndLetsThePositionFollowTheEventsOfOthers) {
  settings_.heartbeat = std::chrono::seconds(30);
  EventFeed patient(loop_.get_executor(), *store_, *wakeUp_, settings_);
  const auto s = addSandbox(acme_);
  const auto follower = run(patient.follow(acme_.tenantId, std::nullopt, std::nullopt, [] { return false; })).value();
  std::optional<Result<EventFeed::Batch>> got;
  asio::co_spawn(loop_, follower->next(), [&](std::exception_ptr, Result<EventFeed::Batch> batch) { got = std::move(batch); });
  asio::co_spawn(loop_, store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0)),
                 [&](std::exception_ptr, Result<SandboxRecord>) { wakeUp_->notify(s.id); });
  runUntil([&] { return got.has_value(); });
  ASSERT_EQ(got->value().items.size(), 1U);
  EXPECT_EQ(got->value().items[0].kind, SandboxEventKind::kStopRequested);
  const auto globex = addTenant("globex");
  const auto elsewhere = addSandbox(globex, "elsewhere");
  const auto quiet = follow(acme_, follower->position()).value();
  const auto heartbeat = next(*quiet);
  EXPECT_TRUE(heartbeat.items.empty());
  EXPECT_GT(heartbeat.position, got->value().position) << "past what was none of its business";
}

TEST_F(EventFeedTest, SaysWhatItCanNoLongerTell) {
  const auto s = addSandbox(acme_);
  for (std::uint64_t n = 1; n <= 7; ++n) change(s, n);
  const auto slow = follow(acme_, 0).value();
  const auto read = next(*slow).items.back().sequence;
  ASSERT_GT(run(store_->pruneSandboxEvents({.perTenant = 2})).value(), 0);
  const auto kept = run(store_->listSandboxEvents(acme_.tenantId, {})).value();
  auto batch = next(*slow);
  ASSERT_TRUE(batch.gap) << "it was overtaken by the pruning";
  EXPECT_EQ(batch.gap->after, read);
  EXPECT_EQ(batch.gap->through, kept.prunedThrough);
  EXPECT_TRUE(batch.items.empty() || batch.items.front().sequence == kept.items.front().sequence);
  EXPECT_FALSE(next(*slow).gap) << "said once";
  const auto restored = follow(acme_, kept.head + 1000).value();
  batch = next(*restored);
  ASSERT_TRUE(batch.gap) << "a position of another, newer log";
  EXPECT_EQ(batch.gap->through, kept.head);
  change(s, 8);
  EXPECT_EQ(drain(*restored).size(), 1U) << "and from there it goes on";
}

TEST_F(EventFeedTest, FollowsOneSandboxAlsoWhenItIsGone) {
  const auto s = addSandbox(acme_);
  const auto other = addSandbox(acme_, "other");
  change(other, 1);
  ASSERT_TRUE(run(store_->removeHost(acme_, s.hostId, Store::RemoveHost::kAlsoWithSandboxes)));
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  const auto follower = follow(acme_, 0, s.id).value();
  const auto batch = next(*follower);
  ASSERT_EQ(batch.items.size(), 3U);
  EXPECT_EQ(batch.items.back().kind, SandboxEventKind::kDeleted);
  EXPECT_EQ(codeOf(follow(acme_, 0, SandboxId::make())), ErrorCode::kNotFound);
  EXPECT_EQ(codeOf(follow(addTenant("globex"), 0, s.id)), ErrorCode::kNotFound);
}

TEST_F(EventFeedTest, BoundsFollowersAndGivesPlacesBack) {
  const auto globex = addTenant("globex");
  auto first = follow(acme_).value();
  const auto second = follow(acme_).value();
  const auto refused = follow(acme_);
  EXPECT_EQ(codeOf(refused), ErrorCode::kResourceExhausted);
  EXPECT_EQ(refused.error().reason, "too_many");
  const auto third = follow(globex).value();
  EXPECT_EQ(codeOf(follow(globex)), ErrorCode::kResourceExhausted) << "nobody gets more than there are in all";
  first.reset();
  EXPECT_TRUE(follow(globex));
  EXPECT_EQ(codeOf(follow(acme_, 0, SandboxId::make())), ErrorCode::kNotFound);
  EXPECT_TRUE(follow(acme_)) << "a refused one holds no place";
}

TEST_F(EventFeedTest, EndsWhenTheClientLeavesAndWhenTheServerStops) {
  const auto follower = follow(acme_).value();
  left_ = true;
  EXPECT_EQ(next(*follower).end, End::kGone);
  left_ = false;
  run(feed_->stop(Deadline::after(Millis(0))));
  EXPECT_EQ(next(*follower).end, End::kStopping);
  EXPECT_EQ(codeOf(follow(acme_)), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace gs

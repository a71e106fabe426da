#include "server/sandboxes/event_feed.h"

namespace gs {
namespace {

// How long a client that left may go unnoticed.
constexpr Millis kLookAround{1'000};

}  // namespace

EventFeed::Follower::Follower(EventFeed& feed, TenantId tenant, std::optional<SandboxId> sandbox, std::function<bool()> gone)
    : feed_(feed), tenant_(std::move(tenant)), sandbox_(std::move(sandbox)), gone_(std::move(gone)) {
  ++feed_.followers_[tenant_];
  ++feed_.count_;
}

EventFeed::Follower::~Follower() {
  if (const auto it = feed_.followers_.find(tenant_); --it->second == 0) feed_.followers_.erase(it);
  --feed_.count_;
  feed_.left_.notifyAll();
}

Task<Result<EventFeed::Batch>> EventFeed::Follower::next() {
  const auto heartbeat = Deadline::after(feed_.settings_.heartbeat);
  while (true) {
    if (feed_.stopping_) co_return Batch{.position = position_, .end = Batch::End::kStopping};
    if (gone_()) co_return Batch{.position = position_, .end = Batch::End::kGone};
    const auto seen = feed_.wakeUp_.changes();
    GS_CO_TRY(auto batch, co_await read());
    if (batch.gap || !batch.items.empty() || heartbeat.expired()) co_return batch;
    co_await waitForChange(seen, heartbeat);
  }
}

Task<Result<EventFeed::Batch>> EventFeed::Follower::read() {
  GS_CO_TRY(auto slice, co_await feed_.store_.listSandboxEvents(tenant_, {sandbox_, position_, feed_.settings_.batch}));
  Batch out;
  // A position that this log has not reached is of a database that was newer than this one.
  if (position_ < slice.prunedThrough || position_ > slice.head) {
    const auto through = position_ > slice.head ? slice.head : slice.prunedThrough;
    out.gap = Batch::Gap{std::exchange(position_, through), through};
  }
  const bool all = static_cast<std::int64_t>(slice.items.size()) < feed_.settings_.batch;
  if (!slice.items.empty()) position_ = slice.items.back().sequence;
  // The rest up to the head is of others. Without this a quiet follower would fall behind the pruning.
  if (all) position_ = std::max(position_, slice.head);
  out.items = std::move(slice.items);
  out.position = position_;
  co_return out;
}

Task<void> EventFeed::Follower::waitForChange(std::uint64_t seen, Deadline deadline) {
  while (feed_.wakeUp_.changes() == seen && !deadline.expired() && !feed_.stopping_ && !gone_()) {
    co_await feed_.wakeUp_.wait(deadline.earlier(Deadline::after(kLookAround)));
  }
}

EventFeed::EventFeed(const Executor& executor, Store& store, SandboxEvents& wakeUp, EventFeedSettings settings)
    : store_(store), wakeUp_(wakeUp), settings_(settings), left_(executor) {}

Status EventFeed::checkPlace(const TenantId& tenant) const {
  if (stopping_) return fail(ErrorCode::kUnavailable, "the server is stopping");
  const auto it = followers_.find(tenant);
  const std::size_t ofTenant = it == followers_.end() ? 0 : it->second;
  if (ofTenant < settings_.maxPerTenant && count_ < settings_.maxInAll) return {};
  return fail(makeError(ErrorCode::kResourceExhausted,
                        fmt::format("{} event streams of this tenant are open, at most {} are allowed ({} in all)", ofTenant,
                                    settings_.maxPerTenant, settings_.maxInAll))
                  .withReason("too_many")
                  .withFix("end one, or let its readers share one stream"));
}

Task<Result<std::unique_ptr<EventFeed::Follower>>> EventFeed::follow(TenantId tenant, std::optional<SandboxId> sandbox,
                                                                     std::optional<std::int64_t> after,
                                                                     std::function<bool()> gone) {
  GS_CO_CHECK(checkPlace(tenant));
  // The place is taken before the first wait, or a burst would get past the limit.
  auto follower = std::make_unique<Follower>(*this, tenant, sandbox, std::move(gone));
  GS_CO_TRY(const auto now, co_await store_.listSandboxEvents(tenant, {sandbox, 0, 1}));
  follower->position_ = after.value_or(now.head);
  co_return follower;
}

Task<void> EventFeed::stop(Deadline deadline) {
  stopping_ = true;
  wakeUp_.notify({});
  while (count_ > 0 && !deadline.expired()) co_await left_.waitUntil(deadline);
}

}  // namespace gs

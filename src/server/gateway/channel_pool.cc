#include "server/gateway/channel_pool.h"

#include "base/encoding.h"

namespace gs {
namespace {

constexpr std::size_t kTicketBytes = 16;
constexpr std::size_t kTicketsPerMessage = 16;
// The handshake of the next spare takes both sides longer than a short session does. It comes when that is over, or
// beside one that goes on, and never before its first frame.
constexpr Millis kRefillDelay{20};

}  // namespace

ChannelPool::ChannelPool(const Executor& executor, const Clock& clock, Millis ticketLifetime, SendTickets send)
    : executor_(executor), clock_(clock), lifetime_(ticketLifetime), send_(std::move(send)), changed_(executor) {}

void ChannelPool::keepSpares(std::size_t count) {
  wanted_ = count;
  askForMissing();
}

bool ChannelPool::useTicket(std::string_view ticket) {
  if (closed_) return false;
  for (auto& known : tickets_) {
    if (known.used || !constantTimeEqual(known.text, ticket)) continue;
    if (known.until <= clock_.steadyNow()) return false;
    known.used = true;
    return true;
  }
  return false;
}

Task<void> ChannelPool::park(std::shared_ptr<WebSocket> socket) {
  const auto arrived = std::find_if(tickets_.begin(), tickets_.end(), [](const Ticket& t) { return t.used; });
  if (arrived != tickets_.end()) tickets_.erase(arrived);
  if (closed_) co_return socket->abort();
  const auto use = std::make_shared<Use>(executor_);
  spares_.push_back({socket, use});
  changed_.notifyAll();
  while (!use->over && !use->taken) co_await use->changed.waitUntil(Deadline::never());
  if (use->taken) {
    co_await use->changed.waitUntil(Deadline::after(kRefillDelay));
    askForMissing();
  }
  while (!use->over) co_await use->changed.waitUntil(Deadline::never());
}

Task<Result<std::shared_ptr<WebSocket>>> ChannelPool::take(Deadline deadline) {
  struct Waiting {
    std::size_t* count;
    explicit Waiting(std::size_t& c) : count(&c) { ++c; }
    void leave() {
      if (count != nullptr) --*std::exchange(count, nullptr);
    }
    ~Waiting() { leave(); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
  } waiting(waiting_);
  for (;;) {
    while (!spares_.empty()) {
      // The youngest: the likeliest to be alive.
      const Spare spare = std::move(spares_.back());
      spares_.pop_back();
      if (!spare.socket->isOpen()) {
        spare.use->end();
        continue;
      }
      std::erase_if(inUse_, [](const auto& weak) { return weak.expired(); });
      inUse_.push_back(spare.socket);
      waiting.leave();
      spare.use->taken = true;
      spare.use->changed.notifyAll();
      co_return std::shared_ptr<WebSocket>(spare.socket.get(), [spare](WebSocket*) { spare.use->end(); });
    }
    if (closed_) co_return fail(ErrorCode::kUnavailable, "the link to the host was lost");
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the host did not open a channel in time");
    askForMissing();
    co_await changed_.waitUntil(deadline);
  }
}

void ChannelPool::tend() {
  if (closed_ || (tickets_.empty() && spares_.empty() && wanted_ == 0)) return;
  const auto now = clock_.steadyNow();
  std::erase_if(tickets_, [&](const Ticket& t) { return t.until <= now; });
  std::erase_if(spares_, [](const Spare& spare) {
    if (spare.socket->isOpen()) return false;
    spare.use->end();
    return true;
  });
  askForMissing();
}

void ChannelPool::close(ChannelPool* heir) {
  if (closed_) return;
  closed_ = true;
  tickets_.clear();
  for (auto& spare : spares_) {
    spare.socket->abort();
    spare.use->end();
  }
  spares_.clear();
  for (auto& weak : inUse_) {
    if (heir != nullptr) {
      heir->inUse_.push_back(std::move(weak));
    } else if (const auto socket = weak.lock()) {
      socket->abort();
    }
  }
  inUse_.clear();
  changed_.notifyAll();
}

void ChannelPool::askForMissing() {
  if (closed_) return;
  const std::size_t have = spares_.size() + tickets_.size();
  std::size_t missing = wanted_ + waiting_ > have ? wanted_ + waiting_ - have : 0;
  while (missing > 0) {
    std::vector<SecretString> batch;
    for (; missing > 0 && batch.size() < kTicketsPerMessage; --missing) {
      tickets_.push_back({toBase64Url(randomBytes(kTicketBytes)), clock_.steadyNow() + lifetime_});
      batch.emplace_back(tickets_.back().text);
    }
    send_(std::move(batch));
  }
}

}  // namespace gs

#include "network.h"

namespace gs::sim {
namespace {

constexpr std::size_t kWindow = 64;  // messages under way before a writer waits
constexpr unsigned kStallMessage = 5;
constexpr unsigned kBreakMessage = 2;
constexpr unsigned kDieAtMessage = 1;
constexpr unsigned kLose = 8;
constexpr unsigned kDouble = 15;
constexpr unsigned kReorder = 15;
constexpr unsigned kKeep = 50;
constexpr unsigned kReplay = 8;

}  // namespace

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Message {
    std::string bytes;
    std::optional<WsClose> end;
  };
  struct End {
    explicit End(const Executor& executor) : changed(executor) {}
    std::deque<Message> inbox;
    std::deque<Message> outgoing;  // blocked on the way
    std::size_t underWay = 0;
    std::int64_t lastArrival = 0;
    std::optional<WsClose> closed;
    Process* owner = nullptr;
    std::uint64_t life = 0;
    Event changed;
  };

  Connection(Network& network, std::size_t host)
      : network_(network), host_(host), ends_{End(network.simulation_.executor()), End(network.simulation_.executor())} {}

  End& end(std::size_t side) { return ends_[side]; }
  std::size_t host() const { return host_; }
  static Way wayFrom(std::size_t side) { return side == 0 ? Way::kUp : Way::kDown; }

  void send(std::size_t side, Message message) {
    End& from = ends_[side];
    ++from.underWay;
    if (network_.blocked(host_, wayFrom(side)) || !from.outgoing.empty()) {
      from.outgoing.push_back(std::move(message));
      return;
    }
    put(side, std::move(message));
  }
  // What waited for the way to be open.
  void release(std::size_t side) {
    auto waiting = std::exchange(ends_[side].outgoing, {});
    for (auto& message : waiting) put(side, std::move(message));
  }
  void drop(std::size_t side, std::uint16_t code, std::string reason) {
    End& end = ends_[side];
    if (end.closed) return;
    end.closed = WsClose{code, std::move(reason)};
    end.changed.notifyAll();
  }

 private:
  void put(std::size_t side, Message message) {
    auto& simulation = network_.simulation_;
    if (network_.hostile && !message.end && simulation.faulty) {
      auto& random = simulation.random;
      auto& kept = network_.kept_[{host_, side}];
      if (random.chance(kLose)) {
        simulation.trace("net host{} loses a message", host_);
        --ends_[side].underWay;
        return;
      }
      if (random.chance(kDouble)) again(side, message.bytes, "doubles");
      if (!kept.empty() && random.chance(kReplay)) again(side, kept, "replays");
      if (kept.empty() || random.chance(kKeep)) kept = message.bytes;
    }
    deliver(side, std::move(message));
  }
  void again(std::size_t side, std::string bytes, std::string_view how) {
    network_.simulation_.trace("net host{} {} a message", host_, how);
    ++ends_[side].underWay;
    deliver(side, {std::move(bytes), std::nullopt});
  }
  void deliver(std::size_t side, Message message) {
    auto& simulation = network_.simulation_;
    End& from = ends_[side];
    const auto now = simulation.machine.nanoseconds();
    std::int64_t takes = 200'000 + static_cast<std::int64_t>(simulation.random.below(20'000'000));
    if (simulation.mishap(kStallMessage)) takes += static_cast<std::int64_t>(simulation.random.below(8'000'000'000));
    auto arrival = std::max(from.lastArrival + 1'000, now + takes);
    if (network_.hostile && !message.end && simulation.faulty && simulation.random.chance(kReorder)) {
      arrival += static_cast<std::int64_t>(simulation.random.below(300'000'000));  // its successors do not wait for it
    } else {
      from.lastArrival = arrival;
    }
    if (simulation.mishap(kBreakMessage)) {
      simulation.trace("net host{} breaks", host_);
      drop(0, 1006, "");
      drop(1, 1006, "");
    }
    simulation.after(std::chrono::nanoseconds(arrival - now),
                     [self = shared_from_this(), side, message = std::move(message)]() mutable { self->arrive(side, std::move(message)); });
  }
  void arrive(std::size_t side, Message message) {
    End& from = ends_[side];
    End& to = ends_[1 - side];
    --from.underWay;
    from.changed.notifyAll();
    if (to.closed) {
      // The answer to bytes for a connection that is gone.
      if (!message.end) drop(side, 1006, "");
      return;
    }
    to.inbox.push_back(std::move(message));
    to.changed.notifyAll();
    if (to.owner->isLife(to.life)) to.owner->mayDie(kDieAtMessage, "a message");
  }

  Network& network_;
  std::size_t host_;
  std::array<End, 2> ends_;
};

namespace {

class SimSocket final : public WebSocket {
 public:
  SimSocket(std::shared_ptr<Connection> connection, std::size_t side) : connection_(std::move(connection)), side_(side) {}
  ~SimSocket() override { SimSocket::abort(); }

  Task<Result<std::string>> read() override { return readFrom(connection_, side_); }
  Task<Status> write(std::string_view message) override { return writeTo(connection_, side_, std::string(message)); }
  Task<void> close(std::uint16_t code, std::string reason) override { return closeAt(connection_, side_, code, std::move(reason)); }
  void abort() override {
    auto& end = connection_->end(side_);
    if (end.closed) return;
    connection_->drop(side_, 1006, "");
    connection_->send(side_, {"", WsClose{1006, ""}});
  }
  const WsClose& closed() const override {
    static const WsClose kNone;
    const auto& end = connection_->end(side_);
    return end.closed ? *end.closed : kNone;
  }
  bool isOpen() const override { return !connection_->end(side_).closed; }

 private:
  static Task<Result<std::string>> readFrom(std::shared_ptr<Connection> connection, std::size_t side) {
    auto& end = connection->end(side);
    while (end.inbox.empty() && !end.closed) co_await end.changed.waitUntil(Deadline::never());
    if (end.closed) co_return fail(ErrorCode::kUnavailable, "the connection is gone");
    auto message = std::move(end.inbox.front());
    end.inbox.pop_front();
    if (!message.end) co_return std::move(message.bytes);
    connection->drop(side, message.end->code, message.end->reason);
    co_return fail(ErrorCode::kUnavailable, "the peer closed the connection");
  }
  static Task<Status> writeTo(std::shared_ptr<Connection> connection, std::size_t side, std::string message) {
    auto& end = connection->end(side);
    while (end.underWay >= kWindow && !end.closed) co_await end.changed.waitUntil(Deadline::never());
    if (end.closed || !end.owner->isLife(end.life)) co_return fail(ErrorCode::kUnavailable, "the connection is gone");
    connection->send(side, {std::move(message), std::nullopt});
    co_return Status();
  }
  static Task<void> closeAt(std::shared_ptr<Connection> connection, std::size_t side, std::uint16_t code, std::string reason) {
    auto& end = connection->end(side);
    if (end.closed) co_return;
    if (end.owner->isLife(end.life)) connection->send(side, {"", WsClose{code, std::move(reason)}});
    connection->drop(side, 1006, "");
  }

  std::shared_ptr<Connection> connection_;
  std::size_t side_;
};

}  // namespace

Network::Pair Network::connect(std::size_t host, Process& agent, Process& server) {
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
  auto connection = std::make_shared<Connection>(*this, host);
  connection->end(0).owner = &agent;
  connection->end(0).life = agent.life();
  connection->end(1).owner = &server;
  connection->end(1).life = server.life();
  connections_.push_back(connection);
  return {std::make_shared<SimSocket>(connection, 0), std::make_shared<SimSocket>(connection, 1)};
}

void Network::block(std::size_t host, Way way, bool blocked) {
  blocked_[host][static_cast<std::size_t>(way)] = blocked;
  if (blocked) return;
  for (const auto& weak : connections_) {
    if (const auto c = weak.lock(); c && c->host() == host) c->release(way == Way::kUp ? 0 : 1);
  }
}

void Network::healAll() {
  for (std::size_t host = 0; host < blocked_.size(); ++host) {
    block(host, Way::kUp, false);
    block(host, Way::kDown, false);
  }
}

void Network::cut(std::size_t host, Cut how) {
  for (const auto& weak : connections_) {
    const auto c = weak.lock();
    if (!c || c->host() != host) continue;
    if (how != Cut::kServerOnly) c->drop(0, 1006, "");
    if (how != Cut::kAgentOnly) c->drop(1, 1006, "");
  }
}

void Network::processDied(const Process& process) {
  for (const auto& weak : connections_) {
    const auto c = weak.lock();
    if (!c) continue;
    for (const std::size_t side : {0U, 1U}) {
      if (c->end(side).owner != &process || c->end(side).closed) continue;
      c->drop(side, 1006, "");
      // The kernel of the dead process says so, when it can be heard.
      if (!simulation_.mishap(300)) c->send(side, {"", WsClose{1006, ""}});
    }
  }
}

}  // namespace gs::sim

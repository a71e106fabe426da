// Two WebSockets that are each other's peer, in memory: for tests of what sits between sockets. Tests only.
#pragma once

#include "async/channel.h"
#include "net/web_socket.h"

namespace gs {

class MemoryWebSocket final : public WebSocket {
 public:
  static std::pair<std::shared_ptr<MemoryWebSocket>, std::shared_ptr<MemoryWebSocket>> pair(const Executor& executor) {
    auto wire = std::make_shared<Wire>(executor);
    return {std::make_shared<MemoryWebSocket>(wire, 0), std::make_shared<MemoryWebSocket>(wire, 1)};
  }

  struct Wire {
    explicit Wire(const Executor& executor) : queues{Channel<std::string>(executor, 2), Channel<std::string>(executor, 2)} {}
    std::array<Channel<std::string>, 2> queues;  // by reader
    std::array<WsClose, 2> seen;                 // what that side knows of the end
    bool over = false;
  };
  MemoryWebSocket(std::shared_ptr<Wire> wire, std::size_t side) : wire_(std::move(wire)), side_(side) {}
  ~MemoryWebSocket() override { end({1006, ""}, {1006, ""}); }

  Task<Result<std::string>> read() override {
    const auto wire = wire_;
    auto message = co_await wire->queues[side_].pop();
    if (!message) co_return fail(ErrorCode::kUnavailable, "closed");
    co_return std::move(*message);
  }
  Task<Status> write(std::string_view message) override {
    const auto wire = wire_;
    if (!co_await wire->queues[1 - side_].push(std::string(message))) co_return fail(ErrorCode::kUnavailable, "closed");
    co_return Status();
  }
  Task<void> close(std::uint16_t code, std::string reason) override {
    end({code, reason}, {code, reason});
    co_return;
  }
  void abort() override { end({1006, ""}, {1006, ""}); }
  [[nodiscard]] const WsClose& closed() const override { return wire_->seen[side_]; }
  [[nodiscard]] bool isOpen() const override { return !wire_->over; }

 private:
  void end(WsClose mine, WsClose theirs) {
    if (wire_->over) return;
    wire_->over = true;
    wire_->seen[side_] = std::move(mine);
    wire_->seen[1 - side_] = std::move(theirs);
    for (auto& queue : wire_->queues) queue.close();
  }

  std::shared_ptr<Wire> wire_;
  std::size_t side_;
};

}  // namespace gs

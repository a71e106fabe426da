#include "agent/sessions/file_session.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "wire/file_frames.h"

namespace gs {
namespace {

constexpr Millis kStartTime{15'000};

// Ends when the channel is gone, and otherwise never: how the operation ends is the guest's to say.
Task<void> toGuest(std::shared_ptr<WebSocket> channel, std::shared_ptr<GuestConnection> guest) {
  while (true) {
    auto message = co_await channel->read();
    if (!message || message->size() > kMaxFileFrame) co_return;
    if (!co_await guest->writeFrame(std::move(*message))) break;
  }
  // The guest takes no more, and its reason is on the way; what the client still sends is for nobody.
  while (co_await channel->read()) {
  }
}

Task<void> toChannel(std::shared_ptr<WebSocket> channel, std::shared_ptr<GuestConnection> guest) {
  while (true) {
    const auto frame = co_await guest->readFrame();
    if (!frame || frame->size() > kMaxFileFrame) co_return;
    if (!co_await channel->write(*frame)) co_return;
  }
}

}  // namespace

Task<void> runFileSession(std::shared_ptr<WebSocket> channel, SandboxId sandbox, FileStarter start) {
  using namespace asio::experimental::awaitable_operators;
  auto guest = co_await start(std::move(sandbox), Deadline::after(kStartTime));
  if (!guest) {
    if (co_await channel->write(encodeFileError(guest.error()))) {
      co_await channel->close(1000, "");
    } else {
      channel->abort();
    }
    co_return;
  }
  co_await (toChannel(channel, *guest) || toGuest(channel, *guest));
  (*guest)->close();
  co_await channel->close(1000, "");
}

}  // namespace gs

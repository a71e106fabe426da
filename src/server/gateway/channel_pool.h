// The data channels of one link: tickets that are out, channels that are parked, and who waits for one.
//
// A ticket is 128 random bits, good once, and dies with the link that it was handed out on. Spares are kept so that a
// session costs no round trip; one that died while it was parked is replaced, not given out.
// Loop thread only; owned by its link.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "async/event.h"
#include "base/secret.h"
#include "net/web_socket.h"

namespace gs {

class ChannelPool {
 public:
  using SendTickets = std::function<void(std::vector<SecretString>)>;
  ChannelPool(const Executor& executor, const Clock& clock, Millis ticketLifetime, SendTickets send);

  // How many should be parked from now on; asks for what is missing.
  void keepSpares(std::size_t count);
  // False: unknown, used or too old.
  [[nodiscard]] bool useTicket(std::string_view ticket);
  // Runs for as long as the channel is parked or in use.
  [[nodiscard]] Task<void> park(std::shared_ptr<WebSocket> socket);
  // kUnavailable when the pool closed, kDeadlineExceeded. The channel is done with when the last reference goes.
  [[nodiscard]] Task<Result<std::shared_ptr<WebSocket>>> take(Deadline deadline);
  // Forgets old tickets and dead spares, and asks for new ones.
  void tend();
  // Drops the spares; nobody gets a channel any more. Channels in use go to `heir` (they are then cut with that one), or
  // are dropped as well when there is none. Repeat: nothing.
  void close(ChannelPool* heir);

 private:
  // A channel that somebody is done with.
  struct Use {
    explicit Use(const Executor& executor) : changed(executor) {}
    Event changed;
    bool taken = false;
    bool over = false;
    void end() {
      over = true;
      changed.notifyAll();
    }
  };
  struct Spare {
    std::shared_ptr<WebSocket> socket;
    std::shared_ptr<Use> use;
  };
  struct Ticket {
    std::string text;
    SteadyTime until;
    bool used = false;  // on its way to park()
  };
  void askForMissing();

  Executor executor_;
  const Clock& clock_;
  Millis lifetime_;
  SendTickets send_;
  Event changed_;
  std::size_t wanted_ = 0;
  std::size_t waiting_ = 0;
  bool closed_ = false;
  std::vector<Ticket> tickets_;
  std::vector<Spare> spares_;
  std::vector<std::weak_ptr<WebSocket>> inUse_;
};

}  // namespace gs

// The connection to the agent that outlives every agent: dialled again for ever, 20 ms doubling to one second.
//
// Frames that are sent while there is no connection are dropped: the hello after the next connect says all that counts.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "guest/agent_socket.h"
#include "guest/event_loop.h"
#include "wire/guest_frames.h"

namespace gs::guest {

class ControlConnection {
 public:
  // `hello` gives the first frame of a connection; `onFrame` takes one payload and says whether it was understood: if not,
  // the connection is dropped and dialled again.
  ControlConnection(EventLoop& loop, std::string path, std::function<std::string()> hello,
                    std::function<bool(std::string_view payload)> onFrame);

  void dial();
  [[nodiscard]] bool connected() const { return socket_.isOpen(); }
  // A whole frame, with its length.
  void send(std::string_view frame);

 private:
  void onSocket(std::uint32_t events);
  bool readFrames();
  void drop();
  void updateWatch();

  EventLoop& loop_;
  std::string path_;
  std::function<std::string()> hello_;
  std::function<bool(std::string_view)> onFrame_;
  UniqueFd socket_;
  GuestFrameParser parser_;
  Outgoing outgoing_;
  Millis redialDelay_;
};

}  // namespace gs::guest

// One data connection of an exec: frames out without ever waiting for the agent, frames in as far as they can be used.
//
// It knows how far into the session's output its side is, and nothing else of the session. Memory: one frame each way
// (about 200 KiB when it is stuck both ways).
// Life: shared, because its callbacks may be what drops it. After drop() and abandon() nobody is called any more.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "guest/agent_socket.h"
#include "guest/event_loop.h"
#include "guest/replay_buffer.h"
#include "guest/unique_fd.h"
#include "wire/guest_frames.h"

namespace globalstacks::guest::v1 {
class ExecFrame;
}

namespace gs::guest {

class SessionPeer : public std::enable_shared_from_this<SessionPeer> {
 public:
  enum class Role : std::uint8_t { kWriter, kViewer };
  enum class Verdict : std::uint8_t { kMore, kWait, kBroken };
  struct Handler {
    // One frame of the agent. kWait: no more of them until resume(), unless isClosing().
    std::function<Verdict(SessionPeer&, const globalstacks::guest::v1::ExecFrame&)> frame;
    std::function<void(SessionPeer&)> emptied;  // everything that was sent is out
    std::function<void(SessionPeer&)> gone;     // the agent closed it, or broke the protocol, or finish() is done
  };
  // Where the payload of a data frame is to be put before sendData().
  [[nodiscard]] static char* scratch();

  SessionPeer(EventLoop& loop, UniqueFd socket, Role role, Handler handler);
  ~SessionPeer() { drop(); }
  SessionPeer(const SessionPeer&) = delete;
  SessionPeer& operator=(const SessionPeer&) = delete;

  // Before the first frame of the agent is wanted nothing is read.
  void listen();
  void send(std::string_view frames);
  void send(const globalstacks::guest::v1::ExecFrame& frame);
  // The first `count` bytes of scratch(), as a frame of that stream, without touching them.
  void sendData(OutputStream stream, std::size_t count);
  // After kWait: what has come meanwhile is given first.
  void resume();
  // Closes as soon as all that was sent is out.
  void finish();
  // The same, for one that has no owner any more.
  void abandon();
  void drop();

  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] bool isOpen() const { return socket_.isOpen() && !lost_; }
  [[nodiscard]] bool isEmpty() const { return outgoing_.empty(); }
  [[nodiscard]] bool isFinishing() const { return finishing_; }
  // The agent has closed it; what it said before comes now.
  [[nodiscard]] bool isClosing() const { return closing_; }

  std::uint64_t sent = 0;         // output before this offset has been given to it
  bool told = false;              // knows of the process's start: output may follow

 private:
  void onSocket(std::uint32_t events);
  void hearLastWords();
  void readFrames();
  void updateWatch();
  void lose();
  void closeSocket();

  EventLoop& loop_;
  UniqueFd socket_;
  Role role_;
  Handler handler_;
  GuestFrameParser parser_;
  Outgoing outgoing_;
  std::shared_ptr<SessionPeer> self_;  // of an abandoned one that has something to say yet
  bool owned_ = true;
  bool listening_ = false;
  bool waiting_ = false;
  bool finishing_ = false;
  bool closing_ = false;
  bool lost_ = false;    // to be closed at the end of the round
  bool broken_ = false;  // what comes is not of this protocol
};

}  // namespace gs::guest

// Connections between agents and their server over a network that delays, stalls, breaks and partitions.
//
// A connection is a pair of WebSockets, in order within itself as TCP is; reordering is between an old connection and
// the next. Behind a hostile proxy (or a buggy peer) whole messages are lost, doubled, late after their successors, or come
// from an earlier connection. A direction that is blocked keeps what was sent and delivers it late, or never when the connection is dropped
// meanwhile. A connection may be dead at one end while the other knows nothing. Loop thread only.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "net/web_socket.h"
#include "simulation.h"

namespace gs::sim {

enum class Way : std::uint8_t { kUp, kDown };  // agent to server, server to agent

class Connection;

class Network {
 public:
  Network(Simulation& simulation, std::size_t hosts) : simulation_(simulation), blocked_(hosts) {}

  // A connection of that host, agent's end first.
  using Pair = std::pair<std::shared_ptr<WebSocket>, std::shared_ptr<WebSocket>>;
  [[nodiscard]] Pair connect(std::size_t host, Process& agent, Process& server);
  [[nodiscard]] bool blocked(std::size_t host, Way way) const { return blocked_[host][static_cast<std::size_t>(way)]; }
  void block(std::size_t host, Way way, bool blocked);
  void healAll();
  bool hostile = false;
  // Every connection of the host is dropped, at both ends, or at the server's only, which the agent does not notice.
  enum class Cut : std::uint8_t { kBoth, kServerOnly, kAgentOnly };
  void cut(std::size_t host, Cut how);
  // Drops every end that the process holds.
  void processDied(const Process& process);

 private:
  friend class Connection;
  Simulation& simulation_;
  std::vector<std::array<bool, 2>> blocked_;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::map<std::pair<std::size_t, std::size_t>, std::string> kept_;  // by host and side: a message of some time ago
};

}  // namespace gs::sim

// Carries the frames of an open session both ways until one side ends it.
//
// Two pumps, one message each: the next is read when the last is written, so TCP slows whoever is too fast. Closes
// neither socket: it says how they should be closed.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/task.h"
#include "net/web_socket.h"

namespace gs {

struct SpliceEnd {
  std::uint16_t closeCode = 1000;  // for the client
  std::string closeReason;
  std::optional<Error> problem;    // to be told in an error frame before that
  std::string summary;             // for the audit log, one line
};

// Only one with a terminal can be resized. Unknown: of one that was begun earlier; the agent knows.
enum class SessionStreams : std::uint8_t { kPipes, kTerminal, kUnknown };

struct SpliceRules {
  SessionStreams streams = SessionStreams::kPipes;
  enum class Reattach : std::uint8_t { kNo, kYes } reattach = Reattach::kNo;  // whether there may be acks and departures
  enum class Until : std::uint8_t { kEnd, kOpened } until = Until::kEnd;      // opened: a detached one is on its own then
};

[[nodiscard]] Task<SpliceEnd> splice(std::shared_ptr<WebSocket> client, std::shared_ptr<WebSocket> channel,
                                     SpliceRules rules);

}  // namespace gs

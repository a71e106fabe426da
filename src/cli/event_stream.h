// The lines of a stream of server-sent events (WHATWG HTML §9.2), put together into events.
//
// Only what the API sends is understood: id, event, data, retry and comments. Pure; pieces may be cut anywhere. Limits: a
// line of 1 MiB, then the stream is refused.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace gs::cli {

struct StreamEvent {
  std::string id;    // the position: of this event, or the last one that came
  std::string name;  // "sandbox", "gap"
  std::string data;
};

class EventStreamParser {
 public:
  // Calls `take` for each event that the piece completes. kInvalidArgument: this is no event stream.
  [[nodiscard]] Status feed(std::string_view piece, const std::function<void(const StreamEvent&)>& take);
  // What was begun and not completed is forgotten: the stream broke off there.
  void reset();

  [[nodiscard]] const std::string& lastId() const { return lastId_; }
  // How long the server wants us to wait before we come back.
  [[nodiscard]] Millis retry() const { return retry_; }

 private:
  void takeLine(std::string_view line);

  std::string line_;
  std::string lastId_;
  std::string pendingId_;
  std::string name_;
  std::string data_;
  bool hasData_ = false;
  Millis retry_{2'000};
};

}  // namespace gs::cli

// Follows a stream of server-sent events until it is over, and comes back at the position where it broke off.
//
// What breaks off before anything came, and what would not come back by being asked again, ends it with that error; so does
// an output that cannot be written. Between two tries it waits for as long as the server said.
#pragma once

#include "cli/api_client.h"
#include "cli/context.h"
#include "cli/event_stream.h"

namespace gs::cli {

class StreamFollower {
 public:
  StreamFollower(Context& context, ApiClient& api, std::string path) : context_(context), api_(api), path_(std::move(path)) {}
  virtual ~StreamFollower() = default;
  StreamFollower(const StreamFollower&) = delete;
  StreamFollower& operator=(const StreamFollower&) = delete;

  // Until finish(), or for ever.
  [[nodiscard]] Result<int> run();

 protected:
  enum class Turn : std::uint8_t { kFirst, kAgain };  // whether a position is sent along
  virtual Query query(Turn turn) const = 0;
  virtual void show(const StreamEvent& event) = 0;

  void finish() { over_ = true; }
  [[nodiscard]] Output& out() { return context_.out(); }
  // Everything so far is written out, and then this, unless a write failed before.
  void writeTo(int fd, std::string_view bytes);

 private:
  [[nodiscard]] Status once();

  Context& context_;
  ApiClient& api_;
  std::string path_;
  EventStreamParser parser_;
  bool begun_ = false;
  bool over_ = false;
  Status written_;
};

}  // namespace gs::cli

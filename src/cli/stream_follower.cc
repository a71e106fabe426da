#include "cli/stream_follower.h"

#include "cli/standard_streams.h"

namespace gs::cli {
namespace {

// The stream will not come back by being asked again.
bool isFinal(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kNotFound:
    case ErrorCode::kUnimplemented: return true;
    default: return false;
  }
}

}  // namespace

Result<int> StreamFollower::run() {
  while (true) {
    const Status ended = once();
    if (over_) return 0;
    if (!written_) return fail(written_.error());
    if (!ended && (isFinal(ended.error()) || !begun_)) return fail(ended.error());
    out().note(ended ? "the server ended the stream; going on" : fmt::format("{}; going on", ended.error().message));
    parser_.reset();
    GS_CHECK(api_.pause(parser_.retry()));
  }
}

Status StreamFollower::once() {
  const auto turn = parser_.lastId().empty() ? Turn::kFirst : Turn::kAgain;
  return api_.stream(path_, query(turn), parser_.lastId(), [this](std::string_view piece) -> Result<StreamNext> {
    begun_ = true;
    GS_CHECK(parser_.feed(piece, [this](const StreamEvent& event) { show(event); }));
    if (written_) written_ = out().flush();
    return over_ || !written_ ? StreamNext::kEnough : StreamNext::kMore;
  });
}

void StreamFollower::writeTo(int fd, std::string_view bytes) {
  if (written_) written_ = out().flush();
  if (written_) written_ = writeFully(fd, bytes);
}

}  // namespace gs::cli

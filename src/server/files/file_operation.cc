#include "server/files/file_operation.h"

#include "async/with_deadline.h"
#include "base/encoding.h"

namespace gs {
namespace {

// How often a client that waits is looked at.
constexpr Millis kLook{1'000};
constexpr Millis kSendTime{60'000};
constexpr std::size_t kMaxSummary = 160;

}  // namespace

Task<Result<FileAnswer>> FileOperation::next(Millis patience) {
  const auto deadline = patience == Millis::max() ? Deadline::never() : Deadline::after(patience);
  while (true) {
    auto message = co_await withDeadline(deadline.earlier(Deadline::after(kLook)), "the sandbox's answer", channel_->read());
    if (!message && message.error().code == ErrorCode::kDeadlineExceeded) {
      if (clientLeft_ && clientLeft_()) co_return fail(ErrorCode::kCancelled, "the client went away");
      if (!deadline.expired()) continue;
      summary_ = "no answer in time";
      co_return fail(makeError(ErrorCode::kDeadlineExceeded, "the file operation made no progress in the sandbox for too long"));
    }
    if (!message) {
      summary_ = "the connection to the host was lost";
      co_return fail(ErrorCode::kUnavailable, "the connection to the sandbox was lost");
    }
    auto answer = decodeFileAnswer(*message);
    if (!answer) {
      summary_ = "the sandbox broke the protocol";
      co_return fail(makeError(ErrorCode::kUnavailable, "the sandbox's guest broke the protocol: " + answer.error().message));
    }
    if (std::holds_alternative<std::monostate>(*answer)) continue;
    if (auto* error = std::get_if<Error>(&*answer)) {
      summary_ = "error " + escapeForLog(error->message, kMaxSummary);
      co_return fail(std::move(*error));
    }
    if (const auto* done = std::get_if<FileDone>(&*answer)) summary_ = fmt::format("done, {} entries, {} bytes", done->entries, done->bytes);
    co_return answer;
  }
}

Task<Status> FileOperation::send(std::string frame) {
  co_return co_await withDeadline(Deadline::after(kSendTime), "the sandbox taking what is written", channel_->write(frame));
}

Task<Status> FileOperation::sendData(std::string_view bytes) { return send(encodeFileData(bytes)); }
Task<Status> FileOperation::sendEnd() { return send(encodeFileEnd()); }

}  // namespace gs

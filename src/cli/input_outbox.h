// What was typed or piped and is not known to have arrived: by position, so that it can be sent again from any byte.
//
// Three marks in one stream: all before `acked` the program has, all before `sent` is on its way, `end` is what we have
// read. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace gs::cli {

class InputOutbox {
 public:
  // The session's far end holds so much for a program that does not read.
  static constexpr std::size_t kWindow = 256 * 1024;

  void push(std::string_view bytes) { kept_ += bytes; }
  void finish() { finished_ = true; }
  // The connection does not tell what arrives: what is sent is gone.
  void forgetWhatIsSent() {
    acknowledges_ = false;
    ack(sent_);
  }

  // How much may be read, so that what is kept stays within the window.
  [[nodiscard]] std::size_t room() const { return kept_.size() < kWindow ? kWindow - kept_.size() : 0; }
  // The next bytes to send; counts them as sent. Empty: there are none, or the far end has enough.
  [[nodiscard]] std::string take(std::size_t most) {
    const auto count = std::min({most, kept_.size() - static_cast<std::size_t>(sent_ - acked_),
                                 kWindow - std::min(kWindow, static_cast<std::size_t>(sent_ - acked_))});
    auto out = kept_.substr(static_cast<std::size_t>(sent_ - acked_), count);
    sent_ += count;
    if (!acknowledges_) ack(sent_);
    return out;
  }
  // All has been sent, and there is no more.
  [[nodiscard]] bool isAtEnd() const { return finished_ && sent_ == acked_ + kept_.size(); }
  // Older than what is known: no effect. Beyond what was sent: a lie, no effect.
  void ack(std::uint64_t offset) {
    if (offset <= acked_ || offset > sent_) return;
    kept_.erase(0, static_cast<std::size_t>(offset - acked_));
    acked_ = offset;
  }
  // Another connection: the far end has all before `offset`, and gets what follows. False: that is no longer here.
  [[nodiscard]] bool resume(std::uint64_t offset) {
    if (offset < acked_ || offset > sent_) return false;
    sent_ = offset;
    return true;
  }
  // Nothing of what was sent arrived anywhere.
  void rewind() { sent_ = acked_; }
  // The first connection is to a session that others have typed into.
  void begin(std::uint64_t offset) { acked_ = sent_ = offset; }

 private:
  std::string kept_;
  std::uint64_t acked_ = 0;
  std::uint64_t sent_ = 0;
  bool acknowledges_ = true;
  bool finished_ = false;
};

}  // namespace gs::cli

// One file operation under way: a data channel whose frames are those of files.proto.
//
// Made by FileService. Letting it go before its end cancels the operation; either way the service closes the channel and
// writes the end into the audit log. Loop thread only; one reader and one writer at a time.
#pragma once

#include <functional>
#include <memory>

#include "async/deadline.h"
#include "net/web_socket.h"
#include "wire/file_frames.h"

namespace gs {

class FileOperation {
 public:
  using AtEnd = std::function<void(std::shared_ptr<WebSocket> channel, std::string summary)>;
  FileOperation(std::shared_ptr<WebSocket> channel, AtEnd atEnd) : channel_(std::move(channel)), atEnd_(std::move(atEnd)) {}
  FileOperation(const FileOperation&) = delete;
  FileOperation& operator=(const FileOperation&) = delete;
  ~FileOperation() { atEnd_(std::move(channel_), std::move(summary_)); }

  // For what takes long without a word: kCancelled soon after this says so.
  void watchClient(std::function<bool()> clientLeft) { clientLeft_ = std::move(clientLeft); }

  // What comes next; FileDone is the last. The operation's own error as an error, with the codes and reasons of
  // wire/file_frames.cc; kUnavailable: the host or the sandbox was lost; kDeadlineExceeded: nothing came for `patience`
  // (Millis::max(): for ever).
  [[nodiscard]] Task<Result<FileAnswer>> next(Millis patience);
  // Of an upload. kUnavailable: the host takes no more; next() tells why. kDeadlineExceeded: it did not take it for a minute.
  [[nodiscard]] Task<Status> sendData(std::string_view bytes);
  [[nodiscard]] Task<Status> sendEnd();

 private:
  [[nodiscard]] Task<Status> send(std::string frame);

  std::shared_ptr<WebSocket> channel_;
  AtEnd atEnd_;
  std::function<bool()> clientLeft_;
  std::string summary_ = "the client went away";
};

}  // namespace gs

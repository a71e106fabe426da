// Blocking reads and writes of the standard streams, for threads that may wait, and secrets from people.
//
// Descriptors are used as they were inherited: making them non-blocking would do so for the shell as well, which shares
// them. Works for terminals, pipes, sockets and regular files.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace gs::cli {

// Wakes a readChunk() that waits, from any thread, for good.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  void raise();
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// 1 to `limit` bytes; empty at the end. kCancelled once the interrupt at `wakeFd` was raised.
[[nodiscard]] Result<std::string> readChunk(int fd, int wakeFd, std::size_t limit);
// All of it. A reader that went away ends the process as SIGPIPE does.
[[nodiscard]] Status writeFully(int fd, std::string_view bytes);

// The first line of a file, or of standard input for "-", without white space around it.
[[nodiscard]] Result<SecretString> readSecretFile(const std::string& path);
// Asks on the terminal without showing what is typed. kInvalidArgument when standard input is no terminal.
[[nodiscard]] Result<SecretString> askSecret(std::string_view question);
// A new file with mode 0600 for a secret that is yet to be made: created first, so that no secret is made that then has
// no place. Removed again unless it was written.
class SecretFile {
 public:
  // kAlreadyExists when there is such a file: secrets of the past are not overwritten.
  [[nodiscard]] static Result<SecretFile> create(const std::string& path);
  ~SecretFile();
  SecretFile(SecretFile&& other) noexcept;
  SecretFile& operator=(SecretFile&&) = delete;
  [[nodiscard]] Status write(std::string_view secret);  // once

 private:
  SecretFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

}  // namespace gs::cli

// The image archive that `blueprint create` sends: opened, measured and hashed.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/result.h"

namespace gs::cli {

class Archive {
 public:
  // "-" is standard input, whose size is not known. kInvalidArgument: missing, unreadable, a directory, empty.
  [[nodiscard]] static Result<Archive> open(const std::string& path);
  ~Archive();
  Archive(Archive&& other) noexcept;
  Archive& operator=(Archive&&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  // Absent for what can be read only once (a pipe): then it cannot be hashed before it is sent.
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const { return sizeBytes_; }
  // SHA-256 of all of it; afterwards it stands at the beginning again. Only when sizeBytes() is known.
  [[nodiscard]] Result<Digest> hash(const std::function<void(std::uint64_t done)>& progress);

 private:
  Archive(int fd, std::optional<std::uint64_t> sizeBytes) : fd_(fd), sizeBytes_(sizeBytes) {}
  int fd_;
  std::optional<std::uint64_t> sizeBytes_;
};

// "sha-256=:…:" (RFC 9530).
[[nodiscard]] std::string contentDigestHeader(const Digest& digest);

}  // namespace gs::cli

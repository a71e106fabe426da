// The few file operations that the blueprint cache makes, as a seam: a test makes the n-th write fail or the disk
// small.
//
// Every call blocks, so it belongs on the pool. Any thread; one BlobFile by one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gs {

// A file that is being written. Destroying it closes it; it stays where it is.
class BlobFile {
 public:
  virtual ~BlobFile() = default;
  // All of it. kResourceExhausted when the disk or the quota is full.
  [[nodiscard]] virtual Status write(std::string_view bytes) = 0;
  // Bytes and size are on the disk when it returns.
  [[nodiscard]] virtual Status sync() = 0;
};

// A file that is being read.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  [[nodiscard]] virtual std::uint64_t sizeBytes() const = 0;                // when it was opened
  [[nodiscard]] virtual Result<std::size_t> read(std::span<char> out) = 0;  // 0 at the end
};

class BlobFiles {
 public:
  virtual ~BlobFiles() = default;
  [[nodiscard]] virtual Status makeFolder(std::filesystem::path path) = 0;  // 0700; there already: success
  // A new file, 0600. kAlreadyExists when there is one: names are never reused.
  [[nodiscard]] virtual Result<std::unique_ptr<BlobFile>> create(std::filesystem::path path) = 0;
  // kNotFound when absent; a symlink is not followed.
  [[nodiscard]] virtual Result<std::unique_ptr<BlobReader>> open(std::filesystem::path path) = 0;
  // Replaces `to`, and makes the rename durable (fsync of the target's folder).
  [[nodiscard]] virtual Status moveInto(std::filesystem::path from, std::filesystem::path to) = 0;
  [[nodiscard]] virtual Status remove(std::filesystem::path path) = 0;  // absent: success
  [[nodiscard]] virtual Result<std::vector<std::string>> listFolder(std::filesystem::path path) = 0;
  // Bytes that this process may still write on the disk that holds `path`.
  [[nodiscard]] virtual Result<std::uint64_t> freeBytes(std::filesystem::path path) = 0;
};

[[nodiscard]] std::unique_ptr<BlobFiles> makeDiskFiles();

}  // namespace gs

// BlobStore in a directory: `<root>/blobs/sha256/<aa>/<hex>`, written as `<root>/uploads/<random>` first.
//
// publish() is fsync(file), rename, fsync(directory): a crash leaves either nothing or a whole blob, and files in
// uploads/, which open() removes, but for resumable ones (`<root>/uploads/resumable-<name>`). Blobs are mode 0400 and never opened for writing again.
// Threads: any; must outlive its StagedBlobs. One process at a time owns the directory (the database lock sees to it).
#pragma once

#include <mutex>

#include "server/blueprints/blob_store.h"

namespace gs {

class FileBlobStore final : public BlobStore {
 public:
  // Creates the directories (0700) when missing and empties uploads/. kPermissionDenied, kResourceExhausted.
  [[nodiscard]] static Result<std::shared_ptr<FileBlobStore>> open(const std::string& root);

  [[nodiscard]] Result<std::unique_ptr<StagedBlob>> stage() override;
  [[nodiscard]] Result<std::unique_ptr<StagedBlob>> resume(const std::string& name) override;
  [[nodiscard]] Result<std::uint64_t> resumableBytes(const std::string& name) override;
  [[nodiscard]] Status discardResumable(const std::string& name) override;
  [[nodiscard]] Result<std::vector<std::string>> resumables() override;
  [[nodiscard]] Result<std::uint64_t> freeBytes() override;
  [[nodiscard]] Status publish(StagedBlob& blob) override;
  [[nodiscard]] Result<std::unique_ptr<BlobReader>> open(const Digest& digest) override;
  [[nodiscard]] Result<std::size_t> removeUnused(const std::vector<Digest>& live, WallTime olderThan) override;

 private:
  explicit FileBlobStore(std::string root) : root_(std::move(root)) {}
  [[nodiscard]] std::string directoryOf(const Digest& digest) const;
  [[nodiscard]] std::string resumablePath(const std::string& name) const;
  [[nodiscard]] std::string pathOf(const Digest& digest) const;

  std::string root_;
  // Between "it is there, use it" and "nobody names it, delete it".
  std::mutex publishing_;
};

}  // namespace gs

// Layers that were taken and are not yet the control plane's, as files.
//
//   <state>/layers/<sandboxId>-<generation>.tar    whole: it is durable under this name
//   <state>/layers/<sandboxId>-<generation>.part   being written; of nobody after a restart
//
// The file is the whole memory: what it is called says whose it is, and its digest is computed from its bytes. So a
// restart needs no record, and a damaged file is found out by the control plane.
// Threads: every method blocks, so it belongs on the pool; one call for one sandbox at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "agent/blueprints/blob_files.h"
#include "base/digest.h"
#include "wire/sandbox_types.h"

namespace gs {

struct TakenLayer {
  Digest digest;
  std::uint64_t sizeBytes = 0;
};

// One layer on its way to disk. Destroyed without commit(): nothing of it is left.
class PendingLayer {
 public:
  PendingLayer(BlobFiles& files, std::unique_ptr<BlobFile> file, std::filesystem::path part, std::filesystem::path place);
  ~PendingLayer();
  PendingLayer(const PendingLayer&) = delete;
  PendingLayer& operator=(const PendingLayer&) = delete;
  [[nodiscard]] Status write(std::string_view bytes);
  [[nodiscard]] Result<TakenLayer> commit();  // once
  // Removes what there is, unless committed. Repeat is harmless. The destructor does the same, but a pool's copy of the
  // pointer may put that off a little.
  void discard();

 private:
  BlobFiles& files_;
  std::unique_ptr<BlobFile> file_;
  std::filesystem::path part_;
  std::filesystem::path place_;
  Hasher hasher_;
  std::uint64_t written_ = 0;
};

class LayerSpool {
 public:
  LayerSpool(BlobFiles& files, std::filesystem::path folder) : files_(files), folder_(std::move(folder)) {}

  // Makes the folder and removes what was being written. Runs once after a (re)start.
  [[nodiscard]] Status recover();
  // Reads the whole file, to know its digest. Nothing: there is none.
  [[nodiscard]] Result<std::optional<TakenLayer>> find(const SandboxId& id, std::uint64_t generation);
  // Replaces what another try left. kResourceExhausted: the disk is full.
  [[nodiscard]] Result<std::shared_ptr<PendingLayer>> begin(const SandboxId& id, std::uint64_t generation);
  // From `offset` on. kNotFound.
  [[nodiscard]] Result<std::shared_ptr<BlobReader>> open(const SandboxId& id, std::uint64_t generation, std::uint64_t offset);
  // Of all generations. Unknown: success.
  [[nodiscard]] Status discard(const SandboxId& id);
  [[nodiscard]] Result<std::uint64_t> freeBytes(const std::filesystem::path& folder) { return files_.freeBytes(folder); }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  [[nodiscard]] std::filesystem::path place(const SandboxId& id, std::uint64_t generation, std::string_view ending) const;

  BlobFiles& files_;
  std::filesystem::path folder_;
};

}  // namespace gs

// One entry of an archive on its way into the staging area. See archive_reader.h.
#pragma once

#include "server/blueprints/archive_reader.h"
#include "server/blueprints/gzip_decoder.h"
#include "server/blueprints/layer_scanner.h"

namespace gs {

// What one import may still use up.
class ImportBudget {
 public:
  explicit ImportBudget(const ArchiveLimits& limits) : limits_(limits) {}
  // kResourceExhausted (limit_exceeded) when these bytes would pass the limit.
  [[nodiscard]] Status unpack(std::uint64_t bytes);
  // kResourceExhausted (decompression_bomb) when `out` bytes from `in` bytes is more than is plausible.
  [[nodiscard]] Status checkExpansion(std::uint64_t in, std::uint64_t out) const;

 private:
  const ArchiveLimits& limits_;
  std::uint64_t unpacked_ = 0;
};

class EntryIntake {
 public:
  EntryIntake(std::unique_ptr<StagedBlob> blob, ImportBudget& budget) : blob_(std::move(blob)), budget_(budget) {}

  // Only for what ends the import: disk, budget. A damaged layer is a note in the entry.
  [[nodiscard]] Status feed(std::string_view bytes);
  [[nodiscard]] Result<std::shared_ptr<StagedEntry>> finish();

 private:
  enum class Form : std::uint8_t { kUndecided, kOpaque, kTar, kGzip };

  [[nodiscard]] Status decide();
  [[nodiscard]] Status take(std::string_view bytes);
  [[nodiscard]] Status store(std::string_view bytes);
  void note(Error problem);

  std::unique_ptr<StagedBlob> blob_;
  ImportBudget& budget_;
  Form form_ = Form::kUndecided;
  std::string head_;
  std::unique_ptr<GzipDecoder> gzip_;
  LayerScanner scanner_;
  Hasher sent_;
  std::uint64_t sentBytes_ = 0;
  std::uint64_t storedBytes_ = 0;
  std::optional<Error> problem_;
};

}  // namespace gs

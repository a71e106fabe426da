#include "agent/blueprints/image_archive_source.h"

#include "agent/runtimes/image_archive.h"

namespace gs {
namespace {
constexpr std::size_t kPieceBytes = 256 * 1024;
}

// Used by one pool thread at a time.
struct ImageArchiveSource::Reading {
  BlobRef blob;
  std::unique_ptr<BlobReader> reader;
  Hasher hasher;
  std::uint64_t left = 0;

  static Result<std::shared_ptr<Reading>> open(BlobStore& store, const BlobRef& blob) {
    auto out = std::make_shared<Reading>();
    auto reader = store.open(blob);
    if (!reader) return std::unexpected(std::move(reader.error()));
    if ((*reader)->sizeBytes() != blob.sizeBytes) return fail(damagedBlob(blob.digest));
    out->blob = blob;
    out->reader = std::move(*reader);
    out->left = blob.sizeBytes;
    return out;
  }

  // Holds the last piece back until the digest is known to be right.
  Result<std::string> piece() {
    std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, left)), '\0');
    std::size_t got = 0;
    while (got < bytes.size()) {
      GS_TRY(const auto n, reader->read(std::span(bytes).subspan(got)));
      if (n == 0) return fail(damagedBlob(blob.digest));
      got += n;
    }
    hasher.update(bytes);
    left -= bytes.size();
    if (left == 0 && hasher.finish() != blob.digest) return fail(damagedBlob(blob.digest));
    return bytes;
  }
};

ImageArchiveSource::ImageArchiveSource(BlobStore& store, BlockingPool& pool, const BlueprintManifest& manifest,
                                       std::string_view reference, std::shared_ptr<ArchiveOutcome> outcome)
    : store_(store), pool_(pool), outcome_(std::move(outcome)) {
  std::vector<Digest> layers;
  for (const auto& layer : manifest.layers) layers.push_back(layer.digest);
  const auto text = archiveManifest(manifest.config.digest, reference, layers);
  std::string padding(tarPadding(text.size()), '\0');
  add(tarHeader("manifest.json", text.size()) + text + padding);
  for (const auto& blob : manifest.blobs()) {
    const auto name = blob == manifest.config ? archiveConfigName(blob.digest) : archiveLayerName(blob.digest);
    add(tarHeader(name, blob.sizeBytes), blob);
    add(std::string(tarPadding(blob.sizeBytes), '\0'));
  }
  add(std::string(kTarEndBytes, '\0'));
}

ImageArchiveSource::~ImageArchiveSource() = default;

void ImageArchiveSource::add(std::string text, std::optional<BlobRef> blob) {
  total_ += text.size() + (blob ? blob->sizeBytes : 0);
  if (!parts_.empty() && !parts_.back().blob) {
    parts_.back().text += text;
    parts_.back().blob = std::move(blob);
    return;
  }
  parts_.push_back({std::move(text), std::move(blob)});
}

Task<Result<std::string>> ImageArchiveSource::next() {
  if (!reading_) {
    if (parts_.empty()) co_return std::string();
    auto part = std::move(parts_.front());
    parts_.pop_front();
    if (part.blob) {
      auto opened = co_await pool_.run([store = &store_, blob = *part.blob] { return Reading::open(*store, blob); });
      if (!opened) {
        if (opened.error().code == ErrorCode::kDataLoss) outcome_->damaged = part.blob->digest;
        outcome_->error = opened.error();
        co_return std::unexpected(std::move(opened.error()));
      }
      reading_ = std::move(*opened);
    }
    if (!part.text.empty()) co_return std::move(part.text);
  }
  auto piece = co_await pool_.run([reading = reading_] { return reading->piece(); });
  if (!piece) {
    if (piece.error().code == ErrorCode::kDataLoss) outcome_->damaged = reading_->blob.digest;
    outcome_->error = piece.error();
    co_return piece;
  }
  if (reading_->left == 0) reading_.reset();
  co_return piece;
}

}  // namespace gs

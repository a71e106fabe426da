#include "server/blueprints/entry_intake.h"

namespace gs {
namespace {

constexpr std::size_t kHeadBytes = 512;
constexpr std::string_view kZstd("\x28\xb5\x2f\xfd", 4);

}  // namespace

Status ImportBudget::unpack(std::uint64_t bytes) {
  unpacked_ += bytes;
  if (unpacked_ <= limits_.unpackedBytes) return {};
  return fail(makeError(ErrorCode::kResourceExhausted,
                        fmt::format("the archive unpacks to more than {} bytes", limits_.unpackedBytes))
                  .withReason("limit_exceeded"));
}

Status ImportBudget::checkExpansion(std::uint64_t in, std::uint64_t out) const {
  if (out <= limits_.expansionFree || out / limits_.expansion <= in) return {};
  return fail(makeError(ErrorCode::kResourceExhausted,
                        fmt::format("compressed data grows to more than {} times its size", limits_.expansion))
                  .withReason("decompression_bomb"));
}

Status EntryIntake::feed(std::string_view bytes) {
  sentBytes_ += bytes.size();
  if (form_ != Form::kUndecided) return take(bytes);
  const auto part = bytes.substr(0, kHeadBytes - head_.size());
  head_ += part;
  if (head_.size() < kHeadBytes) return {};
  GS_CHECK(decide());
  return take(bytes.substr(part.size()));
}

Result<std::shared_ptr<StagedEntry>> EntryIntake::finish() {
  if (form_ == Form::kUndecided) GS_CHECK(decide());
  if (!problem_ && gzip_) {
    if (auto status = gzip_->finish(); !status) note(std::move(status).error());
  }
  if (!problem_) {
    if (auto status = scanner_.finish(); !status) note(std::move(status).error());
  }
  auto entry = std::make_shared<StagedEntry>();
  entry->storedDigest = blob_->digest();
  entry->sentDigest = form_ == Form::kGzip ? sent_.finish() : entry->storedDigest;
  entry->sentBytes = sentBytes_;
  entry->blob = std::move(blob_);
  entry->layerProblem = std::move(problem_);
  return entry;
}

Status EntryIntake::decide() {
  const std::string head = std::move(head_);
  if (GzipDecoder::looksLike(head)) {
    form_ = Form::kGzip;
    gzip_ = std::make_unique<GzipDecoder>();
  } else if (LayerScanner::looksLike(head)) {
    form_ = Form::kTar;
  } else {
    form_ = Form::kOpaque;
    if (head.starts_with(kZstd)) {
      note(makeError(ErrorCode::kInvalidArgument, "a layer is compressed with zstd, which this version cannot read")
               .withFix("export the image with gzip or uncompressed layers")
               .withReason("unsupported_media_type"));
    } else {
      note(makeError(ErrorCode::kInvalidArgument, "a layer is neither a tar nor a gzipped tar").withReason("archive_not_an_image"));
    }
  }
  return take(head);
}

Status EntryIntake::take(std::string_view bytes) {
  if (form_ != Form::kGzip) return store(bytes);
  sent_.update(bytes);
  if (!gzip_) return {};
  Status fatal;
  const auto status = gzip_->feed(bytes, [&](std::string_view out) {
    fatal = store(out);
    return fatal;
  });
  if (!fatal) return fatal;
  if (!status) {
    // The rest is only hashed: it may be something else that merely begins like gzip and is never asked for.
    note(status.error());
    gzip_.reset();
  }
  return {};
}

Status EntryIntake::store(std::string_view bytes) {
  if (bytes.empty()) return {};
  storedBytes_ += bytes.size();
  GS_CHECK(budget_.unpack(bytes.size()));
  if (form_ == Form::kGzip) GS_CHECK(budget_.checkExpansion(sentBytes_, storedBytes_));
  GS_CHECK(blob_->append(bytes));
  if (problem_) return {};
  if (auto status = scanner_.feed(bytes); !status) note(std::move(status).error());
  return {};
}

void EntryIntake::note(Error problem) {
  if (!problem_) problem_ = std::move(problem);
}

}  // namespace gs

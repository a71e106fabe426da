#include "agent/blueprints/blob_store.h"

#include "base/encoding.h"
#include "base/log.h"

namespace gs {
namespace {

std::unexpected<Error> differs(std::string message) {
  auto error = makeError(ErrorCode::kDataLoss, std::move(message));
  error.reason = "blueprint_bytes_differ";
  error.fix = "start the sandbox again; if it stays so, import the blueprint's archive anew under another name";
  return std::unexpected(std::move(error));
}

}  // namespace

Error damagedBlob(const Digest& blob) {
  auto error =
      makeError(ErrorCode::kDataLoss,
                fmt::format("this host's cached copy of {} is damaged and was put into quarantine", blob.text()));
  error.reason = "blueprint_cache_damaged";
  error.fix = "start the sandbox again: the agent downloads the blueprint anew; check the host's disk if it recurs";
  return error;
}

Error explainDisk(Error error) {
  if (error.code != ErrorCode::kResourceExhausted) return error;
  if (error.reason.empty()) error.reason = "cache_disk_full";
  if (error.fix.empty()) error.fix = "free disk space on the host, then start the sandbox again";
  return error;
}

PendingBlob::PendingBlob(BlobFiles& files, std::unique_ptr<BlobFile> file, BlobRef blob,
                         std::filesystem::path temporary, std::filesystem::path place)
    : files_(files),
      file_(std::move(file)),
      blob_(std::move(blob)),
      temporary_(std::move(temporary)),
      place_(std::move(place)) {}

PendingBlob::~PendingBlob() {
  discard();
}

void PendingBlob::discard() {
  if (fate_ != Fate::kOpen) return;
  fate_ = Fate::kDiscarded;
  file_.reset();
  if (auto removed = files_.remove(temporary_); !removed) {
    logWarn("blueprint_leftover", {{"file", temporary_.string()}, {"error", removed.error().describe()}});
  }
}

Status PendingBlob::write(std::string_view bytes) {
  if (bytes.size() > blob_.sizeBytes - written_) {
    return differs(fmt::format("{} has more than its {} bytes", blob_.digest.text(), blob_.sizeBytes));
  }
  hasher_.update(bytes);
  if (auto done = file_->write(bytes); !done) return std::unexpected(explainDisk(std::move(done.error())));
  written_ += bytes.size();
  return {};
}

Status PendingBlob::commit() {
  if (written_ != blob_.sizeBytes) {
    return differs(fmt::format("{} ended after {} of its {} bytes", blob_.digest.text(), written_, blob_.sizeBytes));
  }
  if (hasher_.finish() != blob_.digest) return differs(fmt::format("bytes sent as {} are others", blob_.digest.text()));
  if (auto done = file_->sync(); !done) return std::unexpected(explainDisk(std::move(done.error())));
  file_.reset();
  if (auto done = files_.moveInto(temporary_, place_); !done) {
    return std::unexpected(explainDisk(std::move(done.error())));
  }
  fate_ = Fate::kCommitted;
  return {};
}

BlobStore::BlobStore(BlobFiles& files, const Clock& clock, std::filesystem::path folder)
    : files_(files), clock_(clock), folder_(std::move(folder)) {}

std::filesystem::path BlobStore::place(const Digest& blob) const {
  return folder_ / "blobs" / blob.hex();
}

Status BlobStore::recover() {
  for (const auto& folder : {folder_, folder_ / "blobs", folder_ / "tmp", folder_ / "quarantine"}) {
    GS_CHECK(files_.makeFolder(folder));
  }
  GS_TRY(const auto leftovers, files_.listFolder(folder_ / "tmp"));
  for (const auto& name : leftovers) {
    auto removed = files_.remove(folder_ / "tmp" / name);
    logInfo("blueprint_leftover_removed",
            {{"file", escapeForLog(name)}, {"outcome", removed ? "removed" : removed.error().describe()}});
  }
  return {};
}

Result<bool> BlobStore::has(const BlobRef& blob) {
  const auto reader = files_.open(place(blob.digest));
  if (!reader) {
    if (reader.error().code == ErrorCode::kNotFound) return false;
    return std::unexpected(reader.error());
  }
  if ((*reader)->sizeBytes() == blob.sizeBytes) return true;
  logWarn("blueprint_blob_damaged", {{"blob", blob.digest.text()},
                                     {"size", static_cast<std::int64_t>((*reader)->sizeBytes())},
                                     {"expected", static_cast<std::int64_t>(blob.sizeBytes)}});
  GS_CHECK(quarantine(blob.digest));
  return false;
}

Result<std::shared_ptr<PendingBlob>> BlobStore::begin(const BlobRef& blob) {
  auto temporary = folder_ / "tmp" / fmt::format("{}.{}", blob.digest.hex(), randomIdChars(12));
  auto file = files_.create(temporary);
  if (!file) return std::unexpected(explainDisk(std::move(file.error())));
  return std::make_shared<PendingBlob>(files_, std::move(*file), blob, std::move(temporary), place(blob.digest));
}

Result<std::unique_ptr<BlobReader>> BlobStore::open(const BlobRef& blob) {
  return files_.open(place(blob.digest));
}

Result<std::string> BlobStore::read(const BlobRef& blob) {
  GS_TRY(const auto reader, open(blob));
  std::string bytes(static_cast<std::size_t>(blob.sizeBytes), '\0');
  std::size_t got = 0;
  while (got < bytes.size()) {
    GS_TRY(const auto n, reader->read(std::span(bytes).subspan(got)));
    if (n == 0) break;
    got += n;
  }
  if (got != bytes.size() || reader->sizeBytes() != blob.sizeBytes || Digest::of(bytes) != blob.digest) {
    return fail(damagedBlob(blob.digest));
  }
  return bytes;
}

Status BlobStore::quarantine(const Digest& blob) {
  const auto folder = folder_ / "quarantine";
  GS_TRY(const auto names, files_.listFolder(folder));
  for (const auto& name : names) {
    if (name.starts_with(blob.hex())) GS_CHECK(files_.remove(folder / name));
  }
  const auto to = folder / fmt::format("{}.{}", blob.hex(), toUnixMillis(clock_.wallNow()));
  auto moved = files_.moveInto(place(blob), to);
  if (!moved && moved.error().code != ErrorCode::kNotFound) return moved;
  return {};
}

Result<std::uint64_t> BlobStore::freeBytes() {
  return files_.freeBytes(folder_);
}

}  // namespace gs

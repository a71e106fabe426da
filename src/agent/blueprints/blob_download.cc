#include "agent/blueprints/blob_download.h"

#include "async/with_deadline.h"

namespace gs {
namespace {

// The next piece, or an error within the stall time.
Task<Result<std::string>> nextPiece(BodyReader* body, Deadline deadline, Millis stallTimeout) {
  const auto limit = Deadline::after(stallTimeout).earlier(deadline);
  auto piece = co_await withDeadline(limit, "the download", body->next());
  if (piece || piece.error().code != ErrorCode::kDeadlineExceeded || deadline.expired()) co_return piece;
  auto error =
      makeError(ErrorCode::kUnavailable, fmt::format("the download brought no byte for {} ms", stallTimeout.count()));
  error.reason = "download_stalled";
  co_return fail(std::move(error));
}

class DiscardAtEnd {
 public:
  explicit DiscardAtEnd(std::shared_ptr<PendingBlob> pending) : pending_(std::move(pending)) {}
  ~DiscardAtEnd() { pending_->discard(); }
  DiscardAtEnd(const DiscardAtEnd&) = delete;
  DiscardAtEnd& operator=(const DiscardAtEnd&) = delete;

 private:
  std::shared_ptr<PendingBlob> pending_;
};

Task<Status> receive(BlobDownload download, BodyReader* body, std::shared_ptr<PendingBlob> pending) {
  while (true) {
    GS_CO_CHECK(download.owner.mayGoOn());
    GS_CO_TRY(auto piece, co_await nextPiece(body, download.owner.deadline(), download.stallTimeout));
    if (piece.empty()) break;
    const auto size = piece.size();
    GS_CO_CHECK(co_await download.pool.run([pending, bytes = std::move(piece)] { return pending->write(bytes); }));
    download.owner.wrote(size);
  }
  co_return co_await download.pool.run([pending] { return pending->commit(); });
}

}  // namespace

Task<Status> downloadBlob(BlobDownload download, BlobRef blob, SecretString credential) {
  GS_CO_CHECK(download.owner.mayGoOn());
  const auto opening = Deadline::after(download.stallTimeout).earlier(download.owner.deadline());
  GS_CO_TRY(auto stream, co_await download.source.openBlob(blob.digest, std::move(credential), opening));
  if (stream.sizeBytes && *stream.sizeBytes != blob.sizeBytes) {
    auto error = makeError(ErrorCode::kDataLoss, fmt::format("the server announces {} bytes for {}, the manifest {}",
                                                             *stream.sizeBytes, blob.digest.text(), blob.sizeBytes));
    error.reason = "blueprint_bytes_differ";
    co_return fail(std::move(error));
  }
  auto* const store = &download.store;
  GS_CO_TRY(auto pending, co_await download.pool.run([store, blob] { return store->begin(blob); }));
  const DiscardAtEnd guard(pending);
  auto received = co_await receive(download, stream.body.get(), pending);
  // Removing a large file takes its time, so not on the loop; the guard is for cancellation.
  co_await download.pool.run([pending]() -> Status {
    pending->discard();
    return {};
  });
  co_return received;
}

}  // namespace gs

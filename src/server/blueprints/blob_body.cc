#include "server/blueprints/blob_body.h"

namespace gs {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

class BlobBody final : public BodySource {
 public:
  BlobBody(BlockingPool& pool, std::shared_ptr<BlobStore> store, std::unique_ptr<BlobReader> reader)
      : pool_(pool), store_(std::move(store)), size_(reader->sizeBytes()), reader_(std::move(reader)) {}

  Task<Result<std::string>> next() override {
    // The work shares the reader: a transfer that was cut ends this object while the read still runs.
    co_return co_await pool_.run([reader = reader_]() -> Result<std::string> {
      std::string piece(kPieceBytes, '\0');
      GS_TRY(const auto size, reader->read(piece));
      piece.resize(size);
      return piece;
    });
  }
  std::optional<std::uint64_t> sizeBytes() const override { return size_; }

 private:
  BlockingPool& pool_;
  std::shared_ptr<BlobStore> store_;
  std::uint64_t size_;
  std::shared_ptr<BlobReader> reader_;
};

}  // namespace

Task<Result<std::unique_ptr<BodySource>>> openBlobBody(BlockingPool& pool, std::shared_ptr<BlobStore> store,
                                                       Digest digest) {
  auto reader = co_await pool.run([store, digest] { return store->open(digest); });
  if (!reader) co_return fail(std::move(reader).error());
  co_return std::make_unique<BlobBody>(pool, std::move(store), std::move(*reader));
}

}  // namespace gs

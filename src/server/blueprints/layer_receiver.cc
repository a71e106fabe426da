#include "server/blueprints/layer_receiver.h"

#include "server/blueprints/layer_scanner.h"

namespace gs {
namespace {

Error invalid(std::string message) { return makeError(ErrorCode::kInvalidArgument, std::move(message)); }

// The scanner keeps no state on disk, so a layer that came in several goes is read once more.
Status scan(BlobStore& store, const Digest& digest) {
  GS_TRY(const auto reader, store.open(digest));
  LayerScanner scanner;
  std::string piece(256 * 1024, '\0');
  while (true) {
    GS_TRY(const auto n, reader->read(piece));
    if (n == 0) break;
    GS_CHECK(scanner.feed(std::string_view(piece).substr(0, n)));
  }
  return scanner.finish();
}

}  // namespace

Task<Result<std::uint64_t>> LayerReceiver::offset(Layer layer) {
  if (layer.sizeBytes == 0 || layer.sizeBytes > kMaxLayerBytes) co_return fail(invalid("a layer has between 1 byte and 1 TiB"));
  co_return co_await pool_.run([store = store_, layer = std::move(layer)]() -> Result<std::uint64_t> {
    GS_TRY(const auto here, store->resumableBytes(layer.name));
    GS_TRY(const auto free, store->freeBytes());
    const auto missing = layer.sizeBytes - std::min(here, layer.sizeBytes);
    if (missing == 0 || missing + kReserveBytes <= free) return here;
    return fail(makeError(ErrorCode::kResourceExhausted,
                          fmt::format("{} MiB are missing, and {} MiB are free on the server's disk", (missing >> 20) + 1, free >> 20))
                    .withReason("disk_full")
                    .withFix("free space in the server's data directory and try again"));
  });
}

Task<Result<std::uint64_t>> LayerReceiver::receive(Layer layer, std::uint64_t offset, BodyReader& body) {
  if (const auto room = co_await this->offset(layer); !room) co_return room;
  if (!busy_.insert(layer.name).second) {
    co_return fail(makeError(ErrorCode::kUnavailable, "another upload of this layer is under way").withReason("upload_in_progress"));
  }
  struct Leave {
    std::set<std::string>& busy;
    std::string name;
    ~Leave() { busy.erase(name); }
  } leave{busy_, layer.name};
  co_return co_await append(std::move(layer), offset, body);
}

Task<Result<std::uint64_t>> LayerReceiver::append(Layer layer, std::uint64_t offset, BodyReader& body) {
  GS_CO_TRY(const std::shared_ptr<StagedBlob> staged, co_await pool_.run([store = store_, name = layer.name]() -> Result<std::shared_ptr<StagedBlob>> {
    GS_TRY(auto blob, store->resume(name));
    return std::shared_ptr<StagedBlob>(std::move(blob));
  }));
  if (staged->sizeBytes() != offset) {
    co_return fail(makeError(ErrorCode::kAborted, fmt::format("{} bytes are here, not {}", staged->sizeBytes(), offset)).withReason("offset_differs"));
  }
  while (true) {
    GS_CO_TRY(auto piece, co_await body.next());
    if (piece.empty()) break;
    if (staged->sizeBytes() + piece.size() > layer.sizeBytes) {
      co_await discard(layer.name);
      co_return fail(invalid(fmt::format("more bytes came than the {} that were announced", layer.sizeBytes)));
    }
    GS_CO_CHECK(co_await pool_.run([staged, bytes = std::move(piece)] { return staged->append(bytes); }));
  }
  const auto here = staged->sizeBytes();
  if (here < layer.sizeBytes) co_return here;
  const auto digest = co_await pool_.run([staged]() -> Result<Digest> { return staged->digest(); });
  if (!digest || *digest != layer.digest) {
    co_await discard(layer.name);
    co_return fail(makeError(ErrorCode::kDataLoss, "the layer's bytes do not have the digest that was announced").withReason("digest_mismatch"));
  }
  co_return here;
}

Task<Result<Digest>> LayerReceiver::publish(Layer layer, std::string document) {
  auto done = co_await pool_.run([store = store_, layer, document = std::move(document)]() -> Result<Digest> {
    GS_TRY(const auto bytes, store->resumableBytes(layer.name));
    if (bytes == layer.sizeBytes) {
      GS_TRY(auto staged, store->resume(layer.name));
      if (staged->digest() != layer.digest) return fail(ErrorCode::kDataLoss, "the layer's bytes do not have the digest that was announced");
      GS_CHECK(store->publish(*staged));
    }
    // Found by the next sweep when it is refused.
    GS_CHECK(scan(*store, layer.digest));
    GS_TRY(auto text, store->stage());
    GS_CHECK(text->append(document));
    const Digest digest = text->digest();
    GS_CHECK(store->publish(*text));
    return digest;
  });
  co_return done;
}

Task<Status> LayerReceiver::discard(std::string name) {
  co_return co_await pool_.run([store = store_, name = std::move(name)] { return store->discardResumable(name); });
}

Task<Result<std::vector<std::string>>> LayerReceiver::names() {
  co_return co_await pool_.run([store = store_] { return store->resumables(); });
}

}  // namespace gs

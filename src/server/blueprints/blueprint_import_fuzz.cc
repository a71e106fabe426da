// Any bytes as an uploaded archive, through the same code as a real upload: no crash, no leak, bounded memory, nothing
// published that does not fit its digest. Blobs are in memory and the limits are small, so that a run is fast.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "server/blueprints/archive_reader.h"
#include "server/blueprints/image_resolver.h"
#include "server/blueprints/layer_scanner.h"

namespace {

class MemoryBlob final : public gs::StagedBlob {
 public:
  gs::Status append(std::string_view bytes) override {
    bytes_ += bytes;
    return {};
  }
  gs::Digest digest() override { return gs::Digest::of(bytes_); }
  std::uint64_t sizeBytes() const override { return bytes_.size(); }
  gs::Result<std::string> readAll(std::size_t limit) override {
    if (bytes_.size() > limit) return gs::fail(gs::ErrorCode::kResourceExhausted, "too large");
    return bytes_;
  }

 private:
  std::string bytes_;
};

class MemoryStore final : public gs::BlobStore {
 public:
  gs::Result<std::unique_ptr<gs::StagedBlob>> stage() override { return std::make_unique<MemoryBlob>(); }
  gs::Result<std::unique_ptr<gs::StagedBlob>> resume(const std::string&) override { return stage(); }
  gs::Result<std::uint64_t> resumableBytes(const std::string&) override { return std::uint64_t{0}; }
  gs::Status discardResumable(const std::string&) override { return {}; }
  gs::Result<std::vector<std::string>> resumables() override { return std::vector<std::string>{}; }
  gs::Result<std::uint64_t> freeBytes() override { return std::uint64_t{1} << 40; }
  gs::Status publish(gs::StagedBlob&) override { return {}; }
  gs::Result<std::unique_ptr<gs::BlobReader>> open(const gs::Digest&) override {
    return gs::fail(gs::ErrorCode::kNotFound, "none");
  }
  gs::Result<std::size_t> removeUnused(const std::vector<gs::Digest>&, gs::WallTime) override { return std::size_t{0}; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  gs::ArchiveLimits limits;
  limits.unpackedBytes = 4 << 20;
  limits.documentBytes = 64 << 10;
  limits.entries = 200;
  limits.expansionFree = 1 << 20;

  boost::asio::io_context loop;
  auto pipe = std::make_shared<gs::BytePipe>(loop.get_executor(), 64 << 20);
  boost::asio::co_spawn(loop, [](std::shared_ptr<gs::BytePipe> p, std::string bytes) -> gs::Task<void> {
    if (!bytes.empty()) static_cast<void>(co_await p->push(std::move(bytes)));
    p->finish();
  }(pipe, std::string(input)), [](const std::exception_ptr&) {});
  loop.run();

  MemoryStore store;
  if (const auto archive = gs::readArchive(*pipe, store, limits)) {
    if (archive->digest != gs::Digest::of(input)) __builtin_trap();
    const auto image = gs::resolveImage(*archive, limits);
    if (image && gs::parseBlueprintManifest(image->manifest.canonical()) != image->manifest) __builtin_trap();
  }
  gs::LayerScanner scanner;
  // In two pieces, because block and record borders are where a push parser goes wrong.
  if (scanner.feed(input.substr(0, size / 3)) && scanner.feed(input.substr(size / 3))) static_cast<void>(scanner.finish());
  return 0;
}

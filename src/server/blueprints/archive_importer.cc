#include "server/blueprints/archive_importer.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/log.h"
#include "server/blueprints/archive_reader.h"
#include "server/blueprints/blueprint_manifest.h"
#include "server/blueprints/image_resolver.h"

namespace gs {
namespace {

constexpr std::size_t kQueueBytes = 2 << 20;

struct AbortOnLeave {
  std::shared_ptr<BytePipe> pipe;
  ~AbortOnLeave() { pipe->abort(makeError(ErrorCode::kCancelled, "the import was cancelled")); }
};

// Carries the body into the pipe, then waits to be cancelled: the import ends when the thread does, not before.
Task<void> feed(BodyReader& body, std::shared_ptr<BytePipe> pipe) {
  const AbortOnLeave leave{pipe};
  for (;;) {
    auto piece = co_await body.next();
    if (!piece) {
      pipe->abort(std::move(piece).error());
      break;
    }
    if (piece->empty()) {
      pipe->finish();
      break;
    }
    if (!co_await pipe->push(std::move(*piece))) break;
  }
  co_await sleepUntil(Deadline::never());
}

Status publishAll(ResolvedImage& image, BlobStore& store) {
  std::vector<StagedEntry*> done;
  const auto publish = [&](StagedEntry& entry) -> Status {
    if (std::find(done.begin(), done.end(), &entry) != done.end()) return {};
    done.push_back(&entry);
    return store.publish(*entry.blob);
  };
  for (const auto& layer : image.layers) GS_CHECK(publish(*layer));
  return publish(*image.config);
}

Result<BlueprintRecord> importOnThread(BytePipe& pipe, BlobStore& store, const ArchiveLimits& limits, const Digest& expected) {
  GS_TRY(const auto archive, readArchive(pipe, store, limits));
  // First what the sender said of the whole: when that is wrong, nothing else that is found is worth telling.
  if (!expected.empty() && archive.digest != expected) {
    return fail(makeError(ErrorCode::kDataLoss, fmt::format("the archive has the digest {}, the request says {}",
                                                            archive.digest.text(), expected.text()))
                    .withReason("digest_mismatch"));
  }
  GS_TRY(auto image, resolveImage(archive, limits));
  BlueprintRecord record;
  record.manifest = image.manifest.canonical();
  record.manifestDigest = Digest::of(record.manifest);
  record.imageConfig = std::move(image.configText);
  record.architecture = image.manifest.architecture;
  record.os = image.manifest.os;
  record.sizeBytes = static_cast<std::int64_t>(image.manifest.sizeBytes());
  record.archiveDigest = archive.digest;
  record.source = "archive";
  GS_CHECK(publishAll(image, store));
  return record;
}

}  // namespace

ArchiveImporter::ArchiveImporter(std::shared_ptr<BlobStore> store, const Clock& clock, ImporterSettings settings)
    : store_(std::move(store)), clock_(clock), settings_(settings), pool_(settings.concurrentImports) {}

Task<Result<BlueprintRecord>> ArchiveImporter::import(BodyReader& body, Digest expected) {
  using namespace asio::experimental::awaitable_operators;
  auto pipe = std::make_shared<BytePipe>(co_await asio::this_coro::executor, kQueueBytes);
  auto work = [pipe, store = store_, limits = settings_.limits, expected]() -> Result<BlueprintRecord> {
    auto result = importOnThread(*pipe, *store, limits, expected);
    pipe->closeReader();
    return result;
  };
  auto ended = co_await (feed(body, pipe) || pool_.run(std::move(work)));
  auto result = std::move(std::get<1>(ended));
  if (result) {
    logInfo("blueprint_imported", {{"manifest", result->manifestDigest.text()}, {"size_bytes", result->sizeBytes}});
  }
  co_return result;
}

Task<Status> ArchiveImporter::sweep(std::vector<std::string> liveManifests) {
  const WallTime olderThan = clock_.wallNow() - settings_.sweepAge;
  auto removed = co_await pool_.run([store = store_, manifests = std::move(liveManifests), olderThan]() -> Result<std::size_t> {
    std::vector<Digest> live;
    for (const auto& text : manifests) {
      // One manifest that cannot be read keeps everything: its blobs are unknown.
      GS_TRY(const auto manifest, parseBlueprintManifest(text));
      for (auto& digest : manifest.blobs()) live.push_back(std::move(digest));
    }
    std::sort(live.begin(), live.end());
    return store->removeUnused(live, olderThan);
  });
  if (!removed) co_return fail(std::move(removed).error());
  if (*removed > 0) logInfo("blobs_swept", {{"removed", *removed}});
  co_return Status();
}

}  // namespace gs

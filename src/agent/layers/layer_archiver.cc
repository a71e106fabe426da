#include "agent/layers/layer_archiver.h"

#include "agent/layers/layer_filter.h"
#include "base/crash_point.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr std::size_t kPiece = 256 * 1024;

class FileSource final : public BodySource {
 public:
  FileSource(BlockingPool& pool, std::shared_ptr<BlobReader> reader, std::uint64_t size)
      : pool_(pool), reader_(std::move(reader)), size_(size) {}
  Task<Result<std::string>> next() override {
    co_return co_await pool_.run([reader = reader_]() -> Result<std::string> {
      std::string piece(kPiece, '\0');
      GS_TRY(const auto n, reader->read(piece));
      piece.resize(n);
      return piece;
    });
  }
  std::optional<std::uint64_t> sizeBytes() const override { return size_; }

 private:
  BlockingPool& pool_;
  std::shared_ptr<BlobReader> reader_;
  std::uint64_t size_;
};

Error noRoom(std::uint64_t needed, std::uint64_t free, std::uint64_t reserve, const std::string& folder) {
  return makeError(ErrorCode::kResourceExhausted,
                   fmt::format("archiving needs {} MiB for a while, and the disk of {} has {} MiB free, of which {} MiB are kept in reserve",
                               (needed >> 20) + 1, folder, free >> 20, reserve >> 20))
      .withReason("disk_full")
      .withFix("free space on the host, then archive again; the sandbox is kept as it is");
}

}  // namespace

// Filters what the runtime gives on its way to the spool. The pool writes while the loop reads on only when it waits here,
// so no more than one piece is held.
class LayerArchiver::SpoolSink final : public LayerSink {
 public:
  SpoolSink(BlockingPool& pool, std::shared_ptr<PendingLayer> pending) : pool_(pool), pending_(std::move(pending)) {}

  Task<Status> write(std::string bytes) override {
    GS_CO_TRY(const auto kept, filter_.feed(bytes));
    if (kept.empty()) co_return Status();
    co_return co_await pool_.run([pending = pending_, text = std::string(kept)] { return pending->write(text); });
  }
  Task<Result<TakenLayer>> finish() {
    GS_CO_TRY(auto rest, filter_.finish());
    co_return co_await pool_.run([pending = pending_, rest = std::move(rest)]() -> Result<TakenLayer> {
      GS_CHECK(pending->write(rest));
      return pending->commit();
    });
  }

 private:
  BlockingPool& pool_;
  std::shared_ptr<PendingLayer> pending_;
  LayerFilter filter_;
};

LayerArchiver::LayerArchiver(Parts parts, std::filesystem::path folder, std::uint64_t reserveBytes)
    : parts_(parts), spool_(parts.files, std::move(folder)), reserveBytes_(reserveBytes), taking_(parts.executor) {}

Task<Result<std::optional<TakenLayer>>> LayerArchiver::find(SandboxId id, std::uint64_t generation) {
  co_return co_await parts_.pool.run([spool = &spool_, id, generation] { return spool->find(id, generation); });
}

Task<Status> LayerArchiver::checkRoom(SandboxId id, Deadline deadline) {
  const auto measure = co_await parts_.runtime.measureLayer(id, deadline);
  if (!measure) {
    // Without container there is nothing to make room for.
    if (measure.error().code == ErrorCode::kNotFound) co_return Status();
    co_return fail(measure.error());
  }
  const auto check = [spool = &spool_, reserve = reserveBytes_, m = *measure]() -> Status {
    const auto own = m.changedBytes;
    GS_TRY(const auto here, spool->freeBytes(spool->folder()));
    // Where the runtime keeps its things on another disk, each has to have its part; on one disk it is the sum.
    const auto there = spool->freeBytes(m.scratchFolder);
    const auto both = own + m.scratchBytes;
    if (here < both + reserve && (!there || *there == here)) return fail(noRoom(both, here, reserve, spool->folder()));
    if (here < own + reserve) return fail(noRoom(own, here, reserve, spool->folder()));
    if (there && *there < m.scratchBytes) return fail(noRoom(m.scratchBytes, *there, 0, m.scratchFolder));
    return {};
  };
  co_return co_await parts_.pool.run(check);
}

Task<Result<TakenLayer>> LayerArchiver::spool(SandboxId id, std::uint64_t generation, SpoolSink& sink, Deadline deadline) {
  const auto given = co_await parts_.runtime.takeLayer(id, generation, sink, deadline);
  if (!given && given.error().code != ErrorCode::kNotFound) co_return fail(given.error());
  co_return co_await sink.finish();
}

Task<Status> LayerArchiver::take(SandboxId id, std::uint64_t generation, Deadline deadline) {
  const auto guard = co_await taking_.lock();
  GS_CO_TRY(auto taken, co_await find(id, generation));
  if (!taken) {
    GS_CO_CHECK(co_await checkRoom(id, deadline));
    GS_CO_TRY(auto pending, co_await parts_.pool.run([spool = &spool_, id, generation] { return spool->begin(id, generation); }));
    SpoolSink sink(parts_.pool, pending);
    auto spooled = co_await spool(id, generation, sink, deadline);
    if (!spooled) {
      co_await parts_.pool.run([pending]() -> Status {
        pending->discard();
        return {};
      });
      co_return fail(std::move(spooled).error());
    }
    taken = std::move(*spooled);
    logInfo("layer_taken", {{"sandbox", id.text()}, {"digest", taken->digest.text()}, {"size_bytes", taken->sizeBytes}});
  }
  crashPoint("take_layer.spooled");
  co_return co_await parts_.runtime.dropLayers(id, deadline);
}

Task<Status> LayerArchiver::send(SandboxId id, std::uint64_t generation, Deadline deadline) {
  GS_CO_TRY(const auto taken, co_await find(id, generation));
  if (!taken) co_return fail(ErrorCode::kNotFound, fmt::format("no layer of sandbox {} is spooled", id));
  const LayerOffer offer{id, generation, taken->digest, taken->sizeBytes};
  GS_CO_TRY(auto state, co_await parts_.uploader.ask(offer, deadline));
  if (state.complete) co_return Status();
  if (state.offset > offer.sizeBytes) co_return fail(ErrorCode::kInternal, "the control plane has more of the layer than there is");
  GS_CO_TRY(auto reader, co_await parts_.pool.run([spool = &spool_, id, generation, offset = state.offset] {
    return spool->open(id, generation, offset);
  }));
  auto rest = std::make_unique<FileSource>(parts_.pool, std::move(reader), offer.sizeBytes - state.offset);
  GS_CO_TRY(state, co_await parts_.uploader.send(offer, state.offset, std::move(rest), deadline));
  if (!state.complete) co_return fail(ErrorCode::kUnavailable, "the control plane has not got all of the layer");
  logInfo("layer_sent", {{"sandbox", id.text()}, {"digest", offer.digest.text()}, {"size_bytes", offer.sizeBytes}});
  co_return Status();
}

Task<Status> LayerArchiver::discard(SandboxId id, Deadline deadline) {
  GS_CO_CHECK(co_await parts_.pool.run([spool = &spool_, id] { return spool->discard(id); }));
  co_return co_await parts_.runtime.dropLayers(id, deadline);
}

}  // namespace gs

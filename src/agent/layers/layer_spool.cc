#include "agent/layers/layer_spool.h"

#include <array>

namespace gs {
namespace {

constexpr std::size_t kPiece = 256 * 1024;

}  // namespace

PendingLayer::PendingLayer(BlobFiles& files, std::unique_ptr<BlobFile> file, std::filesystem::path part, std::filesystem::path place)
    : files_(files), file_(std::move(file)), part_(std::move(part)), place_(std::move(place)) {}

PendingLayer::~PendingLayer() { discard(); }

void PendingLayer::discard() {
  if (!file_) return;
  file_.reset();
  (void)files_.remove(part_);
}

Status PendingLayer::write(std::string_view bytes) {
  hasher_.update(bytes);
  written_ += bytes.size();
  return file_->write(bytes);
}

Result<TakenLayer> PendingLayer::commit() {
  GS_CHECK(file_->sync());
  GS_CHECK(files_.moveInto(part_, place_));
  file_.reset();
  return TakenLayer{hasher_.finish(), written_};
}

std::filesystem::path LayerSpool::place(const SandboxId& id, std::uint64_t generation, std::string_view ending) const {
  return folder_ / fmt::format("{}-{}{}", id.text(), generation, ending);
}

Status LayerSpool::recover() {
  GS_CHECK(files_.makeFolder(folder_));
  GS_TRY(const auto names, files_.listFolder(folder_));
  for (const auto& name : names) {
    if (name.ends_with(".part")) GS_CHECK(files_.remove(folder_ / name));
  }
  return {};
}

Result<std::optional<TakenLayer>> LayerSpool::find(const SandboxId& id, std::uint64_t generation) {
  auto reader = files_.open(place(id, generation, ".tar"));
  if (!reader && reader.error().code == ErrorCode::kNotFound) return std::optional<TakenLayer>();
  if (!reader) return std::unexpected(std::move(reader).error());
  Hasher hasher;
  std::string piece(kPiece, '\0');
  std::uint64_t size = 0;
  while (true) {
    GS_TRY(const auto n, (*reader)->read(piece));
    if (n == 0) break;
    hasher.update(std::string_view(piece).substr(0, n));
    size += n;
  }
  return std::optional(TakenLayer{hasher.finish(), size});
}

Result<std::shared_ptr<PendingLayer>> LayerSpool::begin(const SandboxId& id, std::uint64_t generation) {
  const auto part = place(id, generation, ".part");
  GS_CHECK(files_.remove(part));
  GS_TRY(auto file, files_.create(part));
  return std::make_shared<PendingLayer>(files_, std::move(file), part, place(id, generation, ".tar"));
}

Result<std::shared_ptr<BlobReader>> LayerSpool::open(const SandboxId& id, std::uint64_t generation, std::uint64_t offset) {
  GS_TRY(std::shared_ptr<BlobReader> reader, files_.open(place(id, generation, ".tar")));
  std::string piece(kPiece, '\0');
  while (offset > 0) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(offset, piece.size()));
    GS_TRY(const auto n, reader->read(std::span(piece.data(), want)));
    if (n == 0) return fail(ErrorCode::kDataLoss, "a taken layer is shorter than what was sent of it");
    offset -= n;
  }
  return reader;
}

Status LayerSpool::discard(const SandboxId& id) {
  GS_TRY(const auto names, files_.listFolder(folder_));
  const auto mine = id.text() + "-";
  for (const auto& name : names) {
    if (name.starts_with(mine)) GS_CHECK(files_.remove(folder_ / name));
  }
  return {};
}

}  // namespace gs

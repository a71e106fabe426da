// The changed layer of a container, by the engine's commit and save.
//
// The engine has no call that gives one layer: a commit makes an image whose top layer is what was changed, and a save
// gives the whole image, of which only that layer is passed on. The rest is skipped as it comes. Which one it is follows
// from a mark in the image's description (the form of `docker save` up to Docker 24) or from its digest (later ones); that
// it is the right one is proven by its digest. Containers' files are never asked for (docker_engine.h says why).

#include <nlohmann/json.hpp>

#include <algorithm>

#include "agent/runtimes/docker/container_config.h"
#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/runtimes/tar_walker.h"
#include "base/crash_point.h"

namespace gs {
namespace {

constexpr std::string_view kLayerRepository = "gstacks.local/layer";
constexpr std::string_view kLayerLabel = "gstacks.layer";
constexpr std::size_t kMaxDescription = 1 << 20;

std::string tagOf(const SandboxId& id, std::uint64_t generation) { return fmt::format("{}-{}", id.text(), generation); }

// Finds the wanted layer among the entries of a saved image and keeps its bytes until they are passed on.
class LayerPicker final : private TarWalker::Visitor {
 public:
  LayerPicker(Digest layer, std::string mark) : layer_(std::move(layer)), mark_(std::move(mark)), walker_(*this) {}

  Status feed(std::string_view bytes) { return walker_.feed(bytes); }
  std::string takeBytes() { return std::exchange(out_, {}); }
  Status finish() {
    GS_CHECK(walker_.finish());
    if (!found_) return fail(ErrorCode::kInternal, "the saved image does not have the layer that it names");
    if (hasher_.finish() != layer_) return fail(ErrorCode::kDataLoss, "the saved layer is not the one that the image names");
    return {};
  }

 private:
  Status begin(const TarEntry& entry, std::string_view) override {
    const auto slash = entry.path.rfind('/');
    const auto folder = entry.path.substr(0, slash == std::string::npos ? 0 : slash);
    const auto name = entry.path.substr(slash == std::string::npos ? 0 : slash + 1);
    const bool file = entry.type == '0';
    picks_ = file && !found_ && ((name == "layer.tar" && !folder.empty() && folder == marked_) || name == layer_.hex());
    found_ = found_ || picks_;
    describes_ = file && name == "json" && entry.sizeBytes <= kMaxDescription;
    description_.clear();
    folder_ = folder;
    return {};
  }
  Status content(std::string_view bytes) override {
    if (describes_) description_ += bytes;
    if (!picks_) return {};
    hasher_.update(bytes);
    out_ += bytes;
    return {};
  }
  Status end(std::string_view) override {
    if (!describes_) return {};
    const auto json = parseJson(description_);
    if (!json || !json->is_object()) return {};
    const auto config = json->find("config");
    if (config == json->end() || !config->is_object()) return {};
    const auto labels = config->find("Labels");
    if (labels == config->end() || !labels->is_object()) return {};
    const auto label = labels->find(std::string(kLayerLabel));
    if (label != labels->end() && label->is_string() && label->get<std::string>() == mark_) marked_ = folder_;
    return {};
  }

  Digest layer_;
  std::string mark_;
  std::string marked_;  // the folder of the image's top layer
  std::string folder_;
  std::string description_;
  std::string out_;
  Hasher hasher_;
  bool describes_ = false;
  bool picks_ = false;
  bool found_ = false;
  TarWalker walker_;
};

Error hasVolumes(const SandboxId& id) {
  return makeError(ErrorCode::kFailedPrecondition,
                   fmt::format("sandbox {} has volumes of its image, whose contents are not part of its root file system", id))
      .withReason("sandbox_has_volumes")
      .withFix("use a blueprint whose image declares no VOLUME");
}

}  // namespace

Task<Result<LayerMeasure>> DockerRuntime::measureLayer(SandboxId id, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await require(id, deadline));
  GS_CO_TRY(const auto size, co_await engine_.measureContainer(found.nativeId, deadline));
  GS_CO_TRY(const auto info, co_await engine_.info(deadline));
  // One copy for the image that is committed, and one of everything in the file that the engine saves from.
  co_return LayerMeasure{size.changedBytes, size.changedBytes + size.rootBytes, info.dataFolder};
}

Task<Status> DockerRuntime::takeLayer(SandboxId id, std::uint64_t generation, LayerSink& sink, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await require(id, deadline));
  if (found.alive()) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("sandbox {} still runs", id)).withReason("container_running"));
  }
  GS_CO_TRY(const auto size, co_await engine_.measureContainer(found.nativeId, deadline));
  if (size.hasVolumes) co_return fail(hasVolumes(id));
  const auto tag = tagOf(id, generation);
  const auto reference = fmt::format("{}:{}", kLayerRepository, tag);
  GS_CO_TRY(auto image, co_await engine_.findImage(reference, deadline));
  if (!image) {
    const EngineCommit commit{found.nativeId, std::string(kLayerRepository), tag, std::string(kLayerLabel), tag};
    GS_CO_CHECK(co_await engine_.commit(commit, deadline));
    crashPoint("take_layer.committed");
    GS_CO_TRY(image, co_await engine_.findImage(reference, deadline));
    if (!image) co_return fail(ErrorCode::kUnavailable, "the engine does not have the image that it just made");
  }
  GS_CO_TRY(const auto base, co_await engine_.findImage(size.image, deadline));
  if (base && base->layers.size() == image->layers.size()) co_return Status();  // nothing was changed
  if (image->layers.empty()) co_return fail(ErrorCode::kInternal, "the engine made an image without layers");
  GS_CO_TRY(auto layer, Digest::parse(image->layers.back()));
  GS_CO_TRY(auto archive, co_await engine_.saveImage(reference, deadline));
  LayerPicker picker(std::move(layer), tag);
  while (true) {
    GS_CO_TRY(const auto piece, co_await archive->next());
    if (piece.empty()) break;
    GS_CO_CHECK(picker.feed(piece));
    if (auto bytes = picker.takeBytes(); !bytes.empty()) GS_CO_CHECK(co_await sink.write(std::move(bytes)));
  }
  co_return picker.finish();
}

Task<Status> DockerRuntime::dropLayers(SandboxId id, Deadline deadline) {
  GS_CO_TRY(const auto images, co_await engine_.listMarkedImages(std::string(kLayerRepository), std::string(kLayerLabel), {}, deadline));
  for (const auto& image : images) {
    // Both ends are ours: an image that merely bears the label has other names.
    if (!image.mark.starts_with(id.text() + "-")) continue;
    GS_CO_CHECK(co_await engine_.removeImage(image.id, deadline));
  }
  co_return Status();
}

Task<Result<std::vector<LayerLeftover>>> DockerRuntime::layerLeftovers(HostId host, Deadline deadline) {
  // A committed image has the labels of its container.
  GS_CO_TRY(const auto images, co_await engine_.listMarkedImages(std::string(kLayerRepository), std::string(kLayerLabel),
                                                                 fmt::format("{}={}", kLabelHost, host), deadline));
  std::vector<LayerLeftover> out;
  for (const auto& image : images) {
    auto id = SandboxId::parse(image.mark.substr(0, image.mark.rfind('-')));
    if (id) out.push_back({std::move(*id), image.id, image.createdAt});
  }
  co_return out;
}

}  // namespace gs

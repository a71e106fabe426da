#include "server/blueprints/image_resolver.h"

#include "base/encoding.h"
#include "server/blueprints/image_documents.h"

namespace gs {
namespace {

std::unexpected<Error> refuse(std::string_view reason, std::string message) {
  return fail(makeError(ErrorCode::kInvalidArgument, std::move(message)).withReason(std::string(reason)));
}
std::unexpected<Error> mismatch(std::string message) {
  return fail(makeError(ErrorCode::kDataLoss, std::move(message)).withReason("digest_mismatch"));
}

class Resolver {
 public:
  Resolver(const StagedArchive& archive, const ArchiveLimits& limits) : archive_(archive), limits_(limits) {}

  Result<ResolvedImage> run() {
    if (archive_.entries.contains("oci-layout") && archive_.entries.contains("index.json")) return fromLayout();
    if (archive_.entries.contains("manifest.json")) return fromDockerSave();
    return fail(makeError(ErrorCode::kInvalidArgument, "the archive has neither oci-layout with index.json nor manifest.json")
                    .withFix("upload an OCI image layout or what `docker save` writes")
                    .withReason("archive_not_an_image"));
  }

 private:
  using Entry = std::shared_ptr<StagedEntry>;

  Result<Entry> named(std::string_view path) {
    const auto it = archive_.entries.find(path);
    if (it != archive_.entries.end()) return it->second;
    return refuse("archive_truncated", fmt::format("the archive names {} and does not hold it; it may be cut short", escapeForLog(path)));
  }

  Result<Entry> described(const ContentDescriptor& descriptor) {
    GS_TRY(auto entry, named("blobs/sha256/" + descriptor.digest.hex()));
    if (entry->sentBytes != descriptor.sizeBytes) {
      return mismatch(fmt::format("{} has {} bytes, its descriptor says {}", descriptor.digest.text(), entry->sentBytes,
                                  descriptor.sizeBytes));
    }
    // The reader has checked the digest against the name.
    return entry;
  }

  Result<std::string> document(StagedEntry& entry, std::string_view what) {
    auto text = entry.blob->readAll(limits_.documentBytes);
    if (text) return text;
    if (text.error().code != ErrorCode::kResourceExhausted) return text;
    return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("{} is larger than {} bytes", what, limits_.documentBytes))
                    .withReason("limit_exceeded"));
  }

  Result<ResolvedImage> fromLayout() {
    GS_TRY(const auto index, named("index.json"));
    GS_TRY(auto text, document(*index, "index.json"));
    GS_TRY(auto found, parseImageIndex(text));
    GS_TRY(auto chosen, chooseImage(found));
    if (chosen.kind == ContentKind::kIndex) {
      GS_TRY(const auto nested, described(chosen));
      GS_TRY(text, document(*nested, "the nested index"));
      GS_TRY(found, parseImageIndex(text));
      GS_TRY(chosen, chooseImage(found));
    }
    if (chosen.kind != ContentKind::kManifest) return refuse("archive_not_an_image", "an image index is nested more than once");
    GS_TRY(const auto manifestEntry, described(chosen));
    GS_TRY(const auto manifestText, document(*manifestEntry, "the image manifest"));
    GS_TRY(const auto manifest, parseImageManifest(manifestText));

    ResolvedImage out;
    GS_TRY(out.config, described(manifest.config));
    for (const auto& layer : manifest.layers) {
      if (layer.kind != ContentKind::kLayer) {
        return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("a layer is of the type {}", escapeForLog(layer.mediaType)))
                        .withFix("export the image with gzip or uncompressed layers")
                        .withReason("unsupported_media_type"));
      }
      GS_TRY(auto entry, described(layer));
      out.layers.push_back(std::move(entry));
    }
    return checked(std::move(out));
  }

  Result<ResolvedImage> fromDockerSave() {
    GS_TRY(const auto entry, named("manifest.json"));
    GS_TRY(const auto text, document(*entry, "manifest.json"));
    GS_TRY(const auto images, parseDockerSave(text));
    if (images.size() != 1) {
      return refuse("archive_not_an_image", fmt::format("the archive holds {} images; it must be exactly one", images.size()));
    }
    const auto& image = images.front();
    ResolvedImage out;
    GS_TRY(out.config, named(image.configPath));
    // The file is named after its digest: <hex>.json, or a blob.
    const auto base = image.configPath.substr(image.configPath.rfind('/') + 1);
    const auto stated = Digest::parse("sha256:" + base.substr(0, base.find('.')));
    if (stated && *stated != out.config->sentDigest) {
      return mismatch(fmt::format("the image configuration has the digest {}, its name says {}", out.config->sentDigest.text(), stated->text()));
    }
    for (const auto& path : image.layerPaths) {
      GS_TRY(auto layer, named(path));
      out.layers.push_back(std::move(layer));
    }
    return checked(std::move(out));
  }

  Result<ResolvedImage> checked(ResolvedImage out) {
    if (out.layers.size() > limits_.layers) {
      return refuse("too_many_layers", fmt::format("the image has more than {} layers", limits_.layers));
    }
    GS_TRY(out.configText, document(*out.config, "the image configuration"));
    GS_TRY(const auto config, parseImageConfig(out.configText));
    if (out.layers.empty()) return refuse("archive_not_an_image", "the image has no layers");
    if (config.diffIds.size() != out.layers.size()) {
      return refuse("archive_not_an_image", fmt::format("the image configuration names {} layers, the archive {}",
                                                        config.diffIds.size(), out.layers.size()));
    }
    out.manifest.architecture = config.architecture;
    out.manifest.os = config.os;
    out.manifest.config = {out.config->storedDigest, out.config->blob->sizeBytes()};
    for (std::size_t i = 0; i < out.layers.size(); ++i) {
      const auto& layer = *out.layers[i];
      if (layer.layerProblem) return fail(*layer.layerProblem);
      if (layer.storedDigest != config.diffIds[i]) {
        return mismatch(fmt::format("layer {} has the diff_id {}, the image configuration says {}", i + 1,
                                    layer.storedDigest.text(), config.diffIds[i].text()));
      }
      out.manifest.layers.push_back({layer.storedDigest, layer.blob->sizeBytes()});
    }
    return out;
  }

  const StagedArchive& archive_;
  const ArchiveLimits& limits_;
};

}  // namespace

Result<ResolvedImage> resolveImage(const StagedArchive& archive, const ArchiveLimits& limits) {
  return Resolver(archive, limits).run();
}

}  // namespace gs

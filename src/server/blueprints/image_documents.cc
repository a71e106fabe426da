#include "server/blueprints/image_documents.h"

#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/json.h"

namespace gs {
namespace {

constexpr std::size_t kMaxDescriptors = 1'000;
constexpr std::size_t kMaxTexts = 1'024;
constexpr std::size_t kMaxText = 131'072;

std::unexpected<Error> notAnImage(std::string message) {
  return fail(makeError(ErrorCode::kInvalidArgument, std::move(message)).withReason("archive_not_an_image"));
}
// A complaint of the JSON layer, told as one about the document.
std::unexpected<Error> notAnImage(std::string_view document, const Error& error) {
  return notAnImage(fmt::format("{}: {}", document, error.message));
}

ContentKind kindOf(std::string_view mediaType) {
  struct Row {
    std::string_view type;
    ContentKind kind;
  };
  static constexpr std::array kRows{
      Row{"application/vnd.oci.image.manifest.v1+json", ContentKind::kManifest},
      Row{"application/vnd.docker.distribution.manifest.v2+json", ContentKind::kManifest},
      Row{"application/vnd.oci.image.index.v1+json", ContentKind::kIndex},
      Row{"application/vnd.docker.distribution.manifest.list.v2+json", ContentKind::kIndex},
      Row{"application/vnd.oci.image.config.v1+json", ContentKind::kConfig},
      Row{"application/vnd.docker.container.image.v1+json", ContentKind::kConfig},
      Row{"application/vnd.oci.image.layer.v1.tar", ContentKind::kLayer},
      Row{"application/vnd.oci.image.layer.v1.tar+gzip", ContentKind::kLayer},
      Row{"application/vnd.oci.image.layer.nondistributable.v1.tar", ContentKind::kLayer},
      Row{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", ContentKind::kLayer},
      Row{"application/vnd.docker.image.rootfs.diff.tar", ContentKind::kLayer},
      Row{"application/vnd.docker.image.rootfs.diff.tar.gzip", ContentKind::kLayer},
  };
  const auto* row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return r.type == mediaType; });
  return row == kRows.end() ? ContentKind::kOther : row->kind;
}

Result<ContentDescriptor> parseDescriptor(const Json& json) {
  ContentDescriptor out;
  GS_TRY(out.mediaType, getString(json, "mediaType"));
  out.kind = kindOf(out.mediaType);
  GS_TRY(const auto digest, getString(json, "digest"));
  GS_TRY(out.digest, Digest::parse(digest));
  GS_TRY(const auto size, getInteger(json, "size"));
  if (size < 0) return notAnImage("a descriptor's size is negative");
  out.sizeBytes = static_cast<std::uint64_t>(size);
  if (const auto platform = json.find("platform"); platform != json.end() && platform->is_object()) {
    GS_TRY(const auto os, findString(*platform, "os"));
    GS_TRY(const auto architecture, findString(*platform, "architecture"));
    out.os = os.value_or("");
    out.architecture = architecture.value_or("");
  }
  if (const auto notes = json.find("annotations"); notes != json.end() && notes->is_object()) {
    out.attestation = notes->contains("vnd.docker.reference.type");
  }
  if (out.os == "unknown") out.attestation = true;
  return out;
}

Result<std::vector<ContentDescriptor>> parseDescriptors(const Json& parent, std::string_view key) {
  const auto it = parent.find(key);
  if (it == parent.end() || !it->is_array()) return notAnImage(fmt::format("'{}' is no list", key));
  if (it->size() > kMaxDescriptors) return notAnImage(fmt::format("'{}' has more than {} items", key, kMaxDescriptors));
  std::vector<ContentDescriptor> out;
  for (const auto& item : *it) {
    if (!item.is_object()) return notAnImage(fmt::format("'{}' holds something that is no descriptor", key));
    GS_TRY(auto descriptor, parseDescriptor(item));
    out.push_back(std::move(descriptor));
  }
  return out;
}

Result<Json> parseObject(std::string_view text) {
  GS_TRY(Json root, parseJson(text));
  if (!root.is_object()) return notAnImage("not a JSON object");
  return root;
}

Result<ImageManifestDocument> manifestFrom(std::string_view text) {
  GS_TRY(const Json root, parseObject(text));
  GS_TRY(const auto version, getInteger(root, "schemaVersion"));
  if (version != 2) return notAnImage("its schema version is not 2");
  if (!root.contains("config") || !root["config"].is_object()) return notAnImage("it has no config");
  ImageManifestDocument out;
  GS_TRY(out.config, parseDescriptor(root["config"]));
  if (out.config.kind != ContentKind::kConfig) return notAnImage("its config is not that of an image");
  GS_TRY(out.layers, parseDescriptors(root, "layers"));
  return out;
}

Status checkTexts(const std::vector<std::string>& texts, std::string_view what) {
  if (texts.size() > kMaxTexts) return notAnImage(fmt::format("it has more than {} items in {}", kMaxTexts, what));
  for (const auto& text : texts) {
    if (text.size() > kMaxText) return notAnImage(fmt::format("an item in {} is too long", what));
    if (text.find('\0') != std::string::npos) return notAnImage(fmt::format("an item in {} holds a NUL", what));
  }
  return {};
}

Status checkRunConfig(const Json& config) {
  for (const auto* key : {"Env", "Entrypoint", "Cmd"}) {
    GS_TRY(const auto texts, getStrings(config, key));
    GS_CHECK(checkTexts(texts, key));
  }
  struct Bound {
    const char* key;
    std::size_t limit;
  };
  for (const auto& [key, limit] : {Bound{"WorkingDir", 4096}, Bound{"User", 256}}) {
    GS_TRY(const auto text, findString(config, key));
    if (!text) continue;
    if (text->size() > limit) return notAnImage(fmt::format("{} is too long", key));
    GS_CHECK(checkTexts({*text}, key));
  }
  return {};
}

Result<ImageConfigDocument> configFrom(std::string_view text) {
  GS_TRY(const Json root, parseObject(text));
  ImageConfigDocument out;
  GS_TRY(out.architecture, getString(root, "architecture"));
  GS_TRY(out.os, getString(root, "os"));
  if (out.os != "linux") return notAnImage(fmt::format("the image is for {}, not for linux", escapeForLog(out.os, 40)));
  if (out.architecture != "amd64" && out.architecture != "arm64") {
    return notAnImage(fmt::format("the image is for {}; amd64 and arm64 are known", escapeForLog(out.architecture, 40)));
  }
  const auto rootfs = root.find("rootfs");
  if (rootfs == root.end()) return notAnImage("it has no rootfs");
  GS_TRY(const auto type, getString(*rootfs, "type"));
  if (type != "layers") return notAnImage("its rootfs is not made of layers");
  GS_TRY(const auto texts, getStrings(*rootfs, "diff_ids"));
  for (const auto& diffId : texts) {
    GS_TRY(auto digest, Digest::parse(diffId));
    out.diffIds.push_back(std::move(digest));
  }
  if (const auto config = root.find("config"); config != root.end() && !config->is_null()) GS_CHECK(checkRunConfig(*config));
  return out;
}

Result<std::vector<DockerSaveDocument>> dockerSaveFrom(std::string_view text) {
  GS_TRY(const Json root, parseJson(text));
  if (!root.is_array()) return notAnImage("not a JSON list");
  std::vector<DockerSaveDocument> out;
  for (const auto& item : root) {
    DockerSaveDocument image;
    GS_TRY(image.configPath, getString(item, "Config"));
    GS_TRY(image.layerPaths, getStrings(item, "Layers"));
    out.push_back(std::move(image));
  }
  return out;
}

template <class T>
Result<T> named(Result<T> result, std::string_view document) {
  if (!result) return notAnImage(document, result.error());
  return result;
}

}  // namespace

Result<std::vector<ContentDescriptor>> parseImageIndex(std::string_view text) {
  auto root = parseObject(text);
  if (!root) return notAnImage("image index", root.error());
  return named(parseDescriptors(*root, "manifests"), "image index");
}

Result<ImageManifestDocument> parseImageManifest(std::string_view text) { return named(manifestFrom(text), "image manifest"); }

Result<std::vector<DockerSaveDocument>> parseDockerSave(std::string_view text) {
  return named(dockerSaveFrom(text), "manifest.json");
}

Result<ImageConfigDocument> parseImageConfig(std::string_view text) { return named(configFrom(text), "image configuration"); }

Result<ContentDescriptor> chooseImage(const std::vector<ContentDescriptor>& found) {
  std::vector<ContentDescriptor> images;
  for (const auto& candidate : found) {
    if (candidate.attestation || (candidate.kind != ContentKind::kManifest && candidate.kind != ContentKind::kIndex)) continue;
    // Two tags of one image are two lines with one digest.
    const bool again = std::any_of(images.begin(), images.end(), [&](const auto& i) { return i.digest == candidate.digest; });
    if (!again) images.push_back(candidate);
  }
  if (images.size() > 1) {
    std::vector<ContentDescriptor> wanted;
    std::copy_if(images.begin(), images.end(), std::back_inserter(wanted),
                 [](const auto& i) { return i.os == "linux" && i.architecture == "amd64"; });
    if (wanted.size() == 1) images = std::move(wanted);
  }
  if (images.size() == 1) return images.front();
  if (images.empty()) return notAnImage("the archive holds no image");
  auto error = makeError(ErrorCode::kInvalidArgument, fmt::format("the archive holds {} images; it must be exactly one", images.size()));
  return fail(std::move(error).withReason("archive_not_an_image").withFix("export a single image, for a single platform"));
}

}  // namespace gs

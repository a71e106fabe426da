#include "agent/blueprints/blueprint_manifest.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>

#include "base/encoding.h"
#include "base/json.h"

namespace gs {
namespace {

std::unexpected<Error> invalid(std::string message) {
  auto error = makeError(ErrorCode::kInvalidArgument, std::move(message));
  error.reason = "blueprint_invalid";
  return std::unexpected(std::move(error));
}

std::unexpected<Error> invalid(Error error, std::string_view where) {
  return invalid(fmt::format("{}: {}", where, error.message));
}

template <std::size_t N>
Status checkKeys(const Json& object, const std::array<std::string_view, N>& known, std::string_view where) {
  if (!object.is_object()) return invalid(fmt::format("{} is no object", where));
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) == known.end()) {
      return invalid(fmt::format("{} has the unknown field '{}'", where, escapeForLog(key, 64)));
    }
  }
  return {};
}

constexpr std::array<std::string_view, 5> kManifestKeys{"architecture", "config", "formatVersion", "layers", "os"};
constexpr std::array<std::string_view, 2> kBlobKeys{"digest", "sizeBytes"};

Result<BlobRef> parseBlob(const Json& json, std::string_view where, std::uint64_t maxBytes) {
  GS_CHECK(checkKeys(json, kBlobKeys, where));
  const auto text = getString(json, "digest");
  if (!text) return invalid(text.error(), where);
  const auto digest = Digest::parse(*text);
  if (!digest) return invalid(digest.error(), where);
  const auto size = getInteger(json, "sizeBytes");
  if (!size) return invalid(size.error(), where);
  if (*size < 1 || static_cast<std::uint64_t>(*size) > maxBytes) {
    return invalid(fmt::format("{} has a size of {} bytes; 1 to {} are possible", where, *size, maxBytes));
  }
  return BlobRef{*digest, static_cast<std::uint64_t>(*size)};
}

Result<BlueprintManifest> parseFields(const Json& json) {
  GS_CHECK(checkKeys(json, kManifestKeys, "manifest"));
  const auto version = getInteger(json, "formatVersion");
  if (!version) return invalid(version.error(), "manifest");
  if (*version != 1) {
    auto error = invalid(fmt::format("manifest has format {}, this version reads format 1", *version));
    error.error().fix = "upgrade gstacks-agent on this host";
    return error;
  }
  BlueprintManifest out;
  const auto architecture = getString(json, "architecture");
  if (!architecture || (*architecture != "amd64" && *architecture != "arm64")) {
    return invalid("manifest: architecture must be amd64 or arm64");
  }
  const auto os = getString(json, "os");
  if (!os || *os != "linux") return invalid("manifest: os must be linux");
  out.architecture = *architecture;
  out.os = *os;
  const auto config = json.find("config");
  if (config == json.end()) return invalid("manifest: config is missing");
  GS_TRY(out.config, parseBlob(*config, "manifest config", kMaxImageConfigBytes));
  const auto layers = json.find("layers");
  if (layers == json.end() || !layers->is_array()) return invalid("manifest: layers must be a list");
  if (layers->empty() || layers->size() > kMaxLayers) {
    return invalid(fmt::format("manifest has {} layers; 1 to {} are possible", layers->size(), kMaxLayers));
  }
  std::map<Digest, std::uint64_t> sizes{{out.config.digest, out.config.sizeBytes}};
  for (const auto& layer : *layers) {
    GS_TRY(auto blob, parseBlob(layer, fmt::format("manifest layer {}", out.layers.size()), kMaxBlobBytes));
    const auto [known, isNew] = sizes.emplace(blob.digest, blob.sizeBytes);
    if (known->second != blob.sizeBytes) {
      return invalid(fmt::format("manifest gives {} two sizes", blob.digest.text()));
    }
    out.layers.push_back(std::move(blob));
  }
  return out;
}

// NUL would end the string for the kernel earlier than for us.
Status checkTexts(const ImageConfig& image) {
  const auto bad = [](const std::string& text) { return text.contains('\0'); };
  if (bad(image.workingDir) || bad(image.user) || std::ranges::any_of(image.env, bad) ||
      std::ranges::any_of(image.entrypoint, bad) || std::ranges::any_of(image.cmd, bad)) {
    return invalid("image config contains a NUL character");
  }
  const auto unnamed = [](const std::string& entry) { return entry.find('=') == std::string::npos || entry[0] == '='; };
  if (std::ranges::any_of(image.env, unnamed)) return invalid("image config: an Env entry is not NAME=value");
  return {};
}

Result<ImageConfig> parseImageFields(const Json& config) {
  const auto texts = [&](const char* key) { return getStrings(config, key); };
  ImageConfig out;
  if (config.is_null()) return out;
  if (!config.is_object()) return invalid("image config: config is no object");
  for (auto [key, target] :
       {std::pair("Env", &out.env), std::pair("Entrypoint", &out.entrypoint), std::pair("Cmd", &out.cmd)}) {
    auto list = texts(key);
    if (!list) return invalid(list.error(), "image config");
    *target = std::move(*list);
  }
  for (auto [key, target] : {std::pair("WorkingDir", &out.workingDir), std::pair("User", &out.user)}) {
    auto text = findString(config, key);
    if (!text) return invalid(text.error(), "image config");
    if (*text) *target = std::move(**text);
  }
  GS_CHECK(checkTexts(out));
  return out;
}

}  // namespace

std::vector<BlobRef> BlueprintManifest::blobs() const {
  std::vector<BlobRef> out{config};
  for (const auto& layer : layers) {
    if (std::ranges::find(out, layer) == out.end()) out.push_back(layer);
  }
  return out;
}

std::uint64_t BlueprintManifest::totalBytes() const {
  std::uint64_t sum = 0;  // at most 128 blobs of 2^40 bytes
  for (const auto& blob : blobs()) sum += blob.sizeBytes;
  return sum;
}

Result<BlueprintManifest> parseBlueprintManifest(std::string_view bytes, const Digest& expected) {
  if (bytes.size() > kMaxManifestBytes) {
    return invalid(fmt::format("manifest has {} bytes; at most {} are possible", bytes.size(), kMaxManifestBytes));
  }
  if (Digest::of(bytes) != expected) {
    auto error = makeError(ErrorCode::kDataLoss, fmt::format("manifest is not the one that {} names", expected.text()));
    error.reason = "blueprint_bytes_differ";
    return std::unexpected(std::move(error));
  }
  const auto json = parseJson(bytes);
  if (!json) return invalid(json.error(), "manifest");
  if (canonicalJson(*json) != bytes) return invalid("manifest is not in canonical form");
  return parseFields(*json);
}

Result<ImageConfig> parseImageConfig(std::string_view bytes, const BlueprintManifest& manifest) {
  if (bytes.size() > kMaxImageConfigBytes) return invalid("image config is too large");
  const auto json = parseJson(bytes);
  if (!json) return invalid(json.error(), "image config");
  if (!json->is_object()) return invalid("image config is no object");
  const auto rootfs = json->find("rootfs");
  if (rootfs == json->end() || !rootfs->is_object()) return invalid("image config: rootfs is missing");
  const auto layers = getStrings(*rootfs, "diff_ids");
  if (!layers) return invalid(layers.error(), "image config");
  const bool same =
      std::ranges::equal(*layers, manifest.layers, {}, {}, [](const BlobRef& b) { return b.digest.text(); });
  if (!same) return invalid("image config names other layers than the manifest");
  const auto config = json->find("config");
  return config == json->end() ? ImageConfig{} : parseImageFields(*config);
}

}  // namespace gs

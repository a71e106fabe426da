#include "server/blueprints/test_archive.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstring>

namespace gs::testing {
namespace {

constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kConfigType = "application/vnd.oci.image.config.v1+json";

std::string padded(std::string content) {
  content.resize((content.size() + 511) / 512 * 512, '\0');
  return content;
}

}  // namespace

std::string tarEntry(const TarEntry& entry) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t offset, std::string_view text) { std::memcpy(header.data() + offset, text.data(), text.size()); };
  put(0, std::string_view(entry.name).substr(0, 100));
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", entry.content.size()));
  put(136, "00000000000");
  put(148, "        ");
  header[156] = entry.kind;
  put(157, std::string_view(entry.link).substr(0, 100));
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return header + padded(entry.content);
}

std::string tarOf(const std::vector<TarEntry>& entries) {
  std::string out;
  for (const auto& entry : entries) out += tarEntry(entry);
  return out + std::string(1024, '\0');
}

std::string gzipOf(std::string_view bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string paxHeader(const std::vector<std::pair<std::string, std::string>>& records) {
  std::string body;
  for (const auto& [key, value] : records) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t length = rest + 1;
    while (fmt::format("{}", length).size() + rest != length) ++length;
    body += fmt::format("{} {}={}\n", length, key, value);
  }
  return tarEntry({"pax", body, 'x', ""});
}

ImageLayer plainLayer(std::string tar) { return {tar, tar}; }
ImageLayer gzipLayer(std::string tar) { return {gzipOf(tar), tar, "application/vnd.oci.image.layer.v1.tar+gzip"}; }

std::string imageConfig(const std::vector<std::string>& diffIds, std::string_view architecture, std::string_view os) {
  std::string list;
  for (const auto& id : diffIds) list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", id);
  return fmt::format(R"({{"architecture":"{}","os":"{}","config":{{"Env":["PATH=/bin"],"Cmd":null}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
                     architecture, os, list);
}

std::string descriptor(std::string_view mediaType, std::string_view content, std::string_view more) {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", mediaType, Digest::of(content).text(), content.size(), more);
}

ImageParts imageOf(std::vector<ImageLayer> layers, std::string_view architecture) {
  ImageParts out;
  std::vector<std::string> diffIds;
  std::string list;
  for (const auto& layer : layers) {
    diffIds.push_back(Digest::of(layer.plain).text());
    list += (list.empty() ? "" : ",") + descriptor(layer.mediaType, layer.sent);
  }
  out.config = imageConfig(diffIds, architecture);
  out.layers = std::move(layers);
  out.manifest = fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})", descriptor(kConfigType, out.config), list);
  out.index = fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", descriptor(kManifestType, out.manifest));
  return out;
}

std::vector<TarEntry> ociEntries(const ImageParts& image) {
  std::vector<TarEntry> out{{"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"}, {"index.json", image.index}};
  std::vector<std::string> seen;
  const auto add = [&](const std::string& content) {
    const auto name = blobName(content);
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return;
    seen.push_back(name);
    out.push_back({name, content});
  };
  add(image.manifest);
  add(image.config);
  for (const auto& layer : image.layers) add(layer.sent);
  return out;
}

std::vector<TarEntry> dockerSaveEntries(const ImageParts& image) {
  std::vector<TarEntry> out;
  std::string list;
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    const auto name = fmt::format("{:064x}/layer.tar", i + 1);
    out.push_back({name, image.layers[i].sent});
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", name);
  }
  const auto config = Digest::of(image.config).hex() + ".json";
  out.push_back({config, image.config});
  out.push_back({"manifest.json", fmt::format(R"([{{"Config":"{}","RepoTags":["a:b"],"Layers":[{}]}}])", config, list)});
  return out;
}

}  // namespace gs::testing

// For tests: a tiny image made from this machine's /bin/busybox (package busybox-static), as its blobs and as a
// `docker save` archive. No registry is involved.
#pragma once

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "agent/runtimes/image_archive.h"
#include "net/http_message.h"

namespace gs {

struct TestImage {
  std::string config;
  std::string layer;
  Digest configDigest;
  Digest layerDigest;

  [[nodiscard]] std::string archive(std::string_view reference) const {
    std::string out;
    const auto add = [&out](const std::string& name, const std::string& bytes) {
      out += tarHeader(name, bytes.size()) + bytes + std::string(tarPadding(bytes.size()), '\0');
    };
    add("manifest.json", archiveManifest(configDigest, reference, {layerDigest}));
    add(archiveConfigName(configDigest), config);
    add(archiveLayerName(layerDigest), layer);
    return out + std::string(kTarEndBytes, '\0');
  }
};

// `mark` goes into the layer and the labels, so that tests that run at once never share an image.
inline TestImage makeTestImage(const std::string& mark) {
  std::ifstream file("/bin/busybox", std::ios::binary);
  const std::string busybox{std::istreambuf_iterator<char>(file), {}};
  TestImage image;
  const auto add = [&image](const std::string& name, const std::string& bytes, std::uint32_t mode) {
    image.layer += tarHeader(name, bytes.size(), mode) + bytes + std::string(tarPadding(bytes.size()), '\0');
  };
  add("bin/busybox", busybox, 0755);
  add("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0644);
  add("etc/mark", mark, 0644);
  image.layer += std::string(kTarEndBytes, '\0');
  image.layerDigest = Digest::of(image.layer);
  // What an image declares for itself must not reach the container: see the tests that look for its traces.
  image.config =
      R"({"architecture":"amd64","config":{"Cmd":["never"],"Entrypoint":["/never"],"Env":["PATH=/bin","FROM_IMAGE=1"],)"
      R"("Healthcheck":{"Test":["CMD","/bin/busybox","false"],"Interval":1000000000},)"
      R"("Labels":{"gstacks.managed":"1","gstacks.host":"hst_00000000000000000000"},)"
      R"("User":"65534","WorkingDir":"/work"},"os":"linux","rootfs":{"diff_ids":[")" +
      image.layerDigest.text() + R"("],"type":"layers"}})";
  image.configDigest = Digest::of(image.config);
  return image;
}

// A body that is a string.
class StringSource final : public BodySource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)), size_(bytes_.size()) {}
  Task<Result<std::string>> next() override { co_return std::exchange(bytes_, {}); }
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return size_; }

 private:
  std::string bytes_;
  std::uint64_t size_;
};

}  // namespace gs

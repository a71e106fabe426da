#include "agent/runtimes/image_archive.h"

#include <cstring>

namespace gs {
namespace {

// Field offsets and lengths of the ustar header (IEEE Std 1003.1, pax, "ustar Interchange Format").
struct Field {
  std::size_t offset;
  std::size_t length;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kModified{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kMagic{257, 8};

void putOctal(std::string& block, Field field, std::uint64_t value) {
  const auto text = fmt::format("{:0{}o}", value, field.length - 1);
  std::memcpy(block.data() + field.offset, text.data(), field.length - 1);
}

void putSize(std::string& block, std::uint64_t value) {
  if (value < (1ULL << 33)) return putOctal(block, kSize, value);
  for (std::size_t i = 0; i < 8; ++i) {
    block[kSize.offset + kSize.length - 1 - i] = static_cast<char>((value >> (8 * i)) & 0xff);
  }
  block[kSize.offset] = static_cast<char>(0x80);
}

}  // namespace

std::string tarHeader(std::string_view name, std::uint64_t sizeBytes, std::uint32_t mode) {
  if (name.empty() || name.size() > kName.length) std::abort();
  std::string block(kTarBlockBytes, '\0');
  std::memcpy(block.data() + kName.offset, name.data(), name.size());
  putOctal(block, kMode, mode);
  putOctal(block, kUid, 0);
  putOctal(block, kGid, 0);
  putSize(block, sizeBytes);
  putOctal(block, kModified, 0);
  block[kType.offset] = '0';
  std::memcpy(block.data() + kMagic.offset, "ustar\00000", kMagic.length);
  // The checksum is taken with its own field read as spaces, and ends in NUL, space.
  std::memset(block.data() + kChecksum.offset, ' ', kChecksum.length);
  std::uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  const auto text = fmt::format("{:06o}", sum);
  std::memcpy(block.data() + kChecksum.offset, text.data(), text.size());
  block[kChecksum.offset + 6] = '\0';
  return block;
}

std::size_t tarPadding(std::uint64_t sizeBytes) {
  return static_cast<std::size_t>((kTarBlockBytes - sizeBytes % kTarBlockBytes) % kTarBlockBytes);
}

std::string archiveConfigName(const Digest& config) {
  return config.hex() + ".json";
}

std::string archiveLayerName(const Digest& layer) {
  return layer.hex() + "/layer.tar";
}

std::string archiveManifest(const Digest& config, std::string_view reference, const std::vector<Digest>& layers) {
  // Digests and references made by this program need no JSON escapes.
  std::string names;
  for (const auto& layer : layers) names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", archiveLayerName(layer));
  return fmt::format(R"([{{"Config":"{}","RepoTags":["{}"],"Layers":[{}]}}])", archiveConfigName(config), reference,
                     names);
}

}  // namespace gs

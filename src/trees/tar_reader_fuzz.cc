// Any bytes as a tar, in pieces whose sizes are the input's own: no crash, no endless loop, and data only as announced.
#include <cstdlib>

#include "trees/tar_reader.h"

namespace {

class Counting final : public gs::TarSink {
 public:
  gs::TreeResult<void> entry(const gs::TarEntry& entry) override {
    if (entry.name.empty() || entry.name.size() > gs::kMaxTarName || entry.linkTarget.size() > gs::kMaxTarName) std::abort();
    if (entry.kind != gs::TarKind::kFile && entry.sizeBytes != 0) std::abort();
    left_ = entry.sizeBytes;
    return {};
  }
  gs::TreeResult<void> data(std::string_view bytes) override {
    if (bytes.empty() || bytes.size() > left_) std::abort();
    left_ -= bytes.size();
    return {};
  }
  gs::TreeResult<void> entryEnd() override {
    if (left_ != 0) std::abort();
    return {};
  }

 private:
  std::uint64_t left_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] * 7U;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Counting sink;
  gs::TarReader reader(sink);
  while (!bytes.empty()) {
    if (!reader.feed(bytes.substr(0, piece))) return 0;
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  static_cast<void>(reader.finish());
  return 0;
}

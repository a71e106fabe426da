// What an engine hands over is what a sandbox made of its files: no bytes may make the walker read or keep too much.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/runtimes/tar_walker.h"

namespace {

struct Counting final : gs::TarWalker::Visitor {
  std::uint64_t announced = 0;
  std::uint64_t came = 0;
  gs::Status begin(const gs::TarEntry& entry, std::string_view header) override {
    if (header.size() > gs::TarWalker::kMaxExtensionBytes * 2 + 4096) std::abort();
    announced = entry.sizeBytes;
    came = 0;
    return {};
  }
  gs::Status content(std::string_view bytes) override {
    came += bytes.size();
    if (came > announced) std::abort();
    return {};
  }
  gs::Status end(std::string_view padding) override {
    if (came != announced || padding.size() >= 512) std::abort();
    return {};
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Counting visitor;
  gs::TarWalker walker(visitor);
  // In two pieces, so that every state is left and entered in the middle as well.
  const auto half = size / 2;
  if (walker.feed(bytes.substr(0, half))) {
    if (walker.feed(bytes.substr(half))) (void)walker.finish();
  }
  return 0;
}

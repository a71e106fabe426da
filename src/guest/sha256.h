// SHA-256 (FIPS 180-4), because a static guest links no library that has it. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gs::guest {

class Sha256 {
 public:
  void update(std::string_view bytes);
  // 32 raw bytes. Once.
  [[nodiscard]] std::string finish();

 private:
  void block(const unsigned char* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_{};
  std::size_t pendingBytes_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace gs::guest

// One entry of a tar, and its header as POSIX pax writes it. Pure.
//
// Names are bytes: those that ustar cannot hold, and times with fractions, go into a pax header; one that is no UTF-8 says
// so (hdrcharset=BINARY), as the standard has it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gs {

inline constexpr std::size_t kTarBlock = 512;
inline constexpr std::size_t kMaxTarName = 4'095;
// The pax record in which a sender tells, at the end of a tar that breaks off, why.
inline constexpr std::string_view kTarErrorKey = "GSTACKS.error";

enum class TarKind : std::uint8_t { kFile, kDirectory, kLink, kHardLink, kFifo, kDevice };

struct TarEntry {
  TarKind kind = TarKind::kFile;
  std::string name;        // as it is in the tar; of a directory without the slash at its end
  std::string linkTarget{};  // of both kinds of links
  std::uint64_t sizeBytes = 0;
  std::uint32_t mode = 0;  // 0..07777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t modifiedSeconds = 0;
  std::uint32_t modifiedNanos = 0;
  friend bool operator==(const TarEntry&, const TarEntry&) = default;
};

// All blocks before the entry's data.
[[nodiscard]] std::string tarHeader(const TarEntry& entry);
// How many zero bytes follow that much data.
[[nodiscard]] constexpr std::size_t tarPadding(std::uint64_t sizeBytes) {
  return static_cast<std::size_t>((kTarBlock - sizeBytes % kTarBlock) % kTarBlock);
}
// The end of a whole tar: two zero blocks.
[[nodiscard]] std::string tarEnd();
// The end of one that breaks off: a global pax header with kTarErrorKey, and nothing after it.
[[nodiscard]] std::string tarFailure(std::string_view message);

}  // namespace gs

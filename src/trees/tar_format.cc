#include "trees/tar_format.h"

#include "base/utf8.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace gs {
namespace {

constexpr std::size_t kNameField = 100;
constexpr std::uint64_t kMaxOctalSize = 077777777777;
constexpr std::uint32_t kMaxOctalId = 07777777;

using Block = std::array<char, kTarBlock>;

void putOctal(Block& block, std::size_t at, std::size_t width, std::uint64_t value) {
  for (std::size_t i = width - 1; i-- > 0;) {
    block[at + i] = static_cast<char>('0' + (value & 7));
    value >>= 3;
  }
}

void putText(Block& block, std::size_t at, std::size_t width, std::string_view text) {
  std::memcpy(block.data() + at, text.data(), std::min(width, text.size()));
}

char typeOf(TarKind kind) {
  switch (kind) {
    case TarKind::kFile: return '0';
    case TarKind::kHardLink: return '1';
    case TarKind::kLink: return '2';
    case TarKind::kDevice: return '3';
    case TarKind::kDirectory: return '5';
    case TarKind::kFifo: return '6';
  }
  return '0';
}

struct Fields {
  std::string_view name;
  std::string_view linkTarget;
  char type;
  std::uint64_t size;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint64_t modified;
};

std::string ustar(const Fields& fields) {
  Block block{};
  putText(block, 0, kNameField, fields.name);
  putOctal(block, 100, 8, fields.mode);
  putOctal(block, 108, 8, std::min(fields.uid, kMaxOctalId));
  putOctal(block, 116, 8, std::min(fields.gid, kMaxOctalId));
  putOctal(block, 124, 12, std::min(fields.size, kMaxOctalSize));
  putOctal(block, 136, 12, std::min(fields.modified, kMaxOctalSize));
  block[156] = fields.type;
  putText(block, 157, kNameField, fields.linkTarget);
  putText(block, 257, 6, std::string_view("ustar\0", 6));
  putText(block, 263, 2, "00");
  putOctal(block, 329, 8, 0);
  putOctal(block, 337, 8, 0);
  std::fill_n(block.begin() + 148, 8, ' ');
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  putOctal(block, 148, 7, sum);
  return {block.data(), block.size()};
}

// "LENGTH KEY=VALUE\n", where the length counts itself.
void addRecord(std::string& out, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
  out += std::to_string(length);
  out += ' ';
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

std::string extended(char type, const std::string& records) {
  std::string out = ustar({.name = "PaxHeader", .linkTarget = {}, .type = type, .size = records.size(), .mode = 0644, .uid = 0, .gid = 0, .modified = 0});
  out += records;
  out.append(tarPadding(records.size()), '\0');
  return out;
}

std::string timeText(std::int64_t seconds, std::uint32_t nanos) {
  std::array<char, 48> text{};
  // Before 1970 the fraction still counts upwards: -0.25 is -1 and 750,000,000.
  if (seconds < 0 && nanos > 0) {
    const auto whole = static_cast<long long>(seconds + 1);
    std::snprintf(text.data(), text.size(), "-%lld.%09u", -whole, 1'000'000'000U - nanos);
  } else if (nanos > 0) {
    std::snprintf(text.data(), text.size(), "%lld.%09u", static_cast<long long>(seconds), nanos);
  } else {
    std::snprintf(text.data(), text.size(), "%lld", static_cast<long long>(seconds));
  }
  return text.data();
}

}  // namespace

std::string tarHeader(const TarEntry& entry) {
  const std::string name = entry.kind == TarKind::kDirectory ? entry.name + "/" : entry.name;
  std::string records;
  if (!isUtf8(name) || !isUtf8(entry.linkTarget)) addRecord(records, "hdrcharset", "BINARY");
  const std::size_t charset = records.size();
  if (name.size() > kNameField) addRecord(records, "path", name);
  if (entry.linkTarget.size() > kNameField) addRecord(records, "linkpath", entry.linkTarget);
  if (entry.sizeBytes > kMaxOctalSize) addRecord(records, "size", std::to_string(entry.sizeBytes));
  if (entry.uid > kMaxOctalId) addRecord(records, "uid", std::to_string(entry.uid));
  if (entry.gid > kMaxOctalId) addRecord(records, "gid", std::to_string(entry.gid));
  if (entry.modifiedNanos > 0 || entry.modifiedSeconds < 0 || static_cast<std::uint64_t>(entry.modifiedSeconds) > kMaxOctalSize) {
    addRecord(records, "mtime", timeText(entry.modifiedSeconds, entry.modifiedNanos));
  }
  std::string out;
  if (records.size() > charset) out = extended('x', records);
  out += ustar({.name = name, .linkTarget = entry.linkTarget, .type = typeOf(entry.kind), .size = entry.sizeBytes,
                .mode = entry.mode & 07777, .uid = entry.uid, .gid = entry.gid,
                .modified = static_cast<std::uint64_t>(std::max<std::int64_t>(entry.modifiedSeconds, 0))});
  return out;
}

std::string tarEnd() { return std::string(2 * kTarBlock, '\0'); }

std::string tarFailure(std::string_view message) {
  std::string records;
  addRecord(records, kTarErrorKey, message);
  return extended('g', records);
}

}  // namespace gs

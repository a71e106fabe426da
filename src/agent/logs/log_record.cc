#include "agent/logs/log_record.h"

#include <array>

namespace gs {
namespace {

constexpr std::string_view kMagic = "GSL1";
constexpr std::size_t kLengthAt = 4;
constexpr std::size_t kKindAt = 8;
constexpr std::size_t kTimeAt = 12;
constexpr std::size_t kOffsetAt = 20;
constexpr std::size_t kSumAt = 28;

constexpr std::array<std::uint32_t, 256> makeTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < table.size(); ++n) {
    std::uint32_t value = n;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xedb88320U ^ (value >> 1) : value >> 1;
    table[n] = value;
  }
  return table;
}
constexpr auto kTable = makeTable();

std::uint32_t checksum(std::string_view header, std::string_view data) {
  std::uint32_t sum = 0xffffffffU;
  for (const auto part : {header, data}) {
    for (const char c : part) sum = kTable[(sum ^ static_cast<unsigned char>(c)) & 0xff] ^ (sum >> 8);
  }
  return sum ^ 0xffffffffU;
}

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int n = 0; n < bytes; ++n) out.push_back(static_cast<char>((value >> (8 * n)) & 0xff));
}

std::uint64_t take(std::string_view bytes, std::size_t at, int count) {
  std::uint64_t value = 0;
  for (int n = count - 1; n >= 0; --n) value = (value << 8) | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(n)]);
  return value;
}

}  // namespace

void appendLogRecord(std::string& out, const LogRecord& record) {
  std::string header(kMagic);
  put(header, record.data.size(), 4);
  put(header, static_cast<std::uint64_t>(record.kind), 1);
  put(header, 0, 3);
  put(header, static_cast<std::uint64_t>(record.timeMs), 8);
  put(header, record.offset, 8);
  put(header, checksum(header, record.data), 4);
  out += header;
  out += record.data;
}

LogParse parseLogRecord(std::string_view bytes, LogRecord& record, std::size_t& used) {
  if (!kMagic.starts_with(bytes.substr(0, kMagic.size()))) return LogParse::kDamaged;
  if (bytes.size() < kLogHeaderBytes) return LogParse::kIncomplete;
  const auto length = static_cast<std::size_t>(take(bytes, kLengthAt, 4));
  if (length > kMaxLogDataBytes) return LogParse::kDamaged;
  if (bytes.size() < kLogHeaderBytes + length) return LogParse::kIncomplete;
  const auto data = bytes.substr(kLogHeaderBytes, length);
  if (take(bytes, kSumAt, 4) != checksum(bytes.substr(0, kSumAt), data)) return LogParse::kDamaged;
  record.kind = static_cast<LogKind>(take(bytes, kKindAt, 1));
  record.timeMs = static_cast<std::int64_t>(take(bytes, kTimeAt, 8));
  record.offset = take(bytes, kOffsetAt, 8);
  record.data = data;
  used = kLogHeaderBytes + length;
  return LogParse::kRecord;
}

}  // namespace gs

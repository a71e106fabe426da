// The format of a sandbox's log files. A contract: files of one version are read by the next, and by the one before.
//
// A sandbox has a folder of files named <number>.log, ten digits, from 1 on; larger is newer. Each is a sequence of
// records, one after another without gaps. A record is a header of 32 bytes, integers little-endian, and its data:
//
//    0  4  magic, the bytes "GSL1"
//    4  4  length of the data, at most 64 KiB
//    8  1  kind: 1 stdout, 2 stderr, 3 run
//    9  3  zero
//   12  8  Unix time in milliseconds, when the guest read it; never less than in the record before
//   20  8  offset, in the run's output, of the first byte of the data
//   28  4  CRC-32 (IEEE 802.3) of the 28 bytes before and the data
//
// A run record has the run's 16 bytes as data and the offset at which the next record begins; each file begins with one.
// Offsets of a run that leave something out say that this was forgotten: by the guest, because nobody came for it, or
// here, because the files were full. A kind that is not known is passed over. What is no record ends a file: it is where
// a crash cut it, and whoever writes next cuts there. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gs {

inline constexpr std::size_t kLogHeaderBytes = 32;
inline constexpr std::size_t kMaxLogDataBytes = 64 * 1024;
inline constexpr std::size_t kLogRunBytes = 16;

enum class LogKind : std::uint8_t { kStdout = 1, kStderr = 2, kRun = 3 };

struct LogRecord {
  LogKind kind = LogKind::kStdout;
  std::int64_t timeMs = 0;
  std::uint64_t offset = 0;
  std::string_view data;  // points into what it was parsed from
};

void appendLogRecord(std::string& out, const LogRecord& record);

enum class LogParse : std::uint8_t {
  kRecord,      // `record` and `used` are set; a kind that is not known here is as it is in the file
  kIncomplete,  // perhaps a record, when more bytes come
  kDamaged,     // no record, whatever comes
};
[[nodiscard]] LogParse parseLogRecord(std::string_view bytes, LogRecord& record, std::size_t& used);

}  // namespace gs

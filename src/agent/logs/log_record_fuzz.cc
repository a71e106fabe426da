// Log files are our own, and a crash or a bad disk may leave any bytes in them: no bytes may make the parser read beyond
// them, and what it takes for a record is one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/logs/log_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  gs::LogRecord record;
  std::size_t used = 0;
  while (gs::parseLogRecord(bytes, record, used) == gs::LogParse::kRecord) {
    if (used < gs::kLogHeaderBytes || used > bytes.size()) std::abort();
    std::string again;
    gs::appendLogRecord(again, record);
    // The three bytes that are to be zero are covered by the checksum and are not kept.
    if (again.size() != used) std::abort();
    bytes.remove_prefix(used);
  }
  // The rest as data of a record of its own, in pieces.
  std::string whole;
  gs::appendLogRecord(whole, {gs::LogKind::kStderr, static_cast<std::int64_t>(size), size, bytes.substr(0, gs::kMaxLogDataBytes)});
  if (gs::parseLogRecord(whole, record, used) != gs::LogParse::kRecord || used != whole.size()) std::abort();
  if (gs::parseLogRecord(std::string_view(whole).substr(0, whole.size() - 1), record, used) != gs::LogParse::kIncomplete) std::abort();
  return 0;
}

#include "agent/logs/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gs {
namespace {

constexpr std::size_t kBlockBytes = 128 * 1024;  // more than a record
constexpr std::size_t kEntryCost = 64;           // of what says where it belongs

}  // namespace

LogReader::~LogReader() {
  if (file_ >= 0) ::close(file_);
}

void LogReader::rewind() {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
  number_ = 0;
  buffer_.clear();
  begin_ = 0;
  run_.clear();
  expected_ = 0;
  begun_ = false;
}

Status LogReader::seek(const LogQuery& query) {
  rewind();
  if (!query.after.run.empty()) {
    after_ = query.after;
    // Not there any more: all that is there came after it.
    while (true) {
      GS_TRY(const auto record, nextRecord());
      if (!record) break;
      // Its run record, which stands before all of it.
      if (run_ == after_.run) return {};
    }
    after_ = {};
    rewind();
    return {};
  }
  sinceMs_ = query.sinceMs;
  if (!query.tail) return {};
  std::uint64_t lines = 0;
  bool open = false;  // a line without its end
  while (true) {
    GS_TRY(const auto entry, nextEntry());
    if (!entry) break;
    lines += static_cast<std::uint64_t>(std::ranges::count(entry->data, '\n'));
    open = entry->data.back() != '\n';
  }
  lines += open ? 1 : 0;
  rewind();
  skipLines_ = lines > *query.tail ? lines - *query.tail : 0;
  skips_ = true;
  return {};
}

bool LogReader::openNext() {
  const auto numbers = logFileNumbers(folder_);
  const auto found = std::ranges::upper_bound(numbers, number_);
  if (found == numbers.end()) return false;
  const int file = ::open(logFilePath(folder_, *found).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;  // forgotten in this moment, and the next look finds the one after it
  if (file_ >= 0) ::close(file_);
  file_ = file;
  number_ = *found;
  buffer_.clear();
  begin_ = 0;
  return true;
}

Result<std::optional<LogRecord>> LogReader::nextRecord() {
  // A newer file says that this one will not grow; what was written to it before that is read first.
  bool superseded = false;
  while (true) {
    if (file_ >= 0) {
      LogRecord record;
      std::size_t used = 0;
      const auto parsed = parseLogRecord(std::string_view(buffer_).substr(begin_), record, used);
      if (parsed == LogParse::kRecord) {
        begin_ += used;
        if (record.kind == LogKind::kRun) {
          if (record.data != run_) expected_ = 0;
          run_ = std::string(record.data);
        }
        return std::optional(record);
      }
      if (parsed == LogParse::kIncomplete) {
        buffer_.erase(0, begin_);
        begin_ = 0;
        const auto have = buffer_.size();
        buffer_.resize(have + kBlockBytes);
        ssize_t count = 0;
        do {
          count = ::read(file_, buffer_.data() + have, kBlockBytes);
        } while (count < 0 && errno == EINTR);
        buffer_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        if (count < 0) return fail(errnoError(errno, "reading a log"));
        if (count > 0) continue;
      }
      if (!superseded) {
        const auto numbers = logFileNumbers(folder_);
        superseded = !numbers.empty() && numbers.back() > number_;
        if (!superseded) {
          // A record that is being written is looked at anew, from its beginning: it may be taken back.
          ::lseek(file_, -static_cast<off_t>(buffer_.size() - begin_), SEEK_CUR);
          buffer_.clear();
          begin_ = 0;
          return std::optional<LogRecord>();
        }
        if (parsed == LogParse::kIncomplete) continue;  // one more look at its end
      }
    }
    if (!openNext()) return std::optional<LogRecord>();
    superseded = false;
  }
}

Result<std::optional<LogEntry>> LogReader::nextEntry() {
  while (true) {
    GS_TRY(const auto record, nextRecord());
    if (!record) return std::optional<LogEntry>();
    if (record->kind != LogKind::kStdout && record->kind != LogKind::kStderr) continue;
    const auto end = record->offset + record->data.size();
    LogEntry entry{record->kind, record->timeMs, std::string(record->data), 0, {run_, end}};
    if (!after_.run.empty()) {
      // Another run is a later one: reading begins with this one's first record.
      if (run_ == after_.run) {
        if (end <= after_.offset) continue;
        if (record->offset < after_.offset) entry.data.erase(0, after_.offset - record->offset);
        expected_ = after_.offset;
      }
      after_ = {};
    }
    const auto from = end - entry.data.size();
    const auto missing = from > expected_ ? from - expected_ : 0;
    expected_ = end;
    if (sinceMs_ && record->timeMs < *sinceMs_) continue;
    while (skipLines_ > 0 && !entry.data.empty()) {
      const auto line = entry.data.find('\n');
      if (line == std::string::npos) {
        entry.data.clear();
        break;
      }
      entry.data.erase(0, line + 1);
      --skipLines_;
    }
    if (entry.data.empty()) continue;
    // Before what somebody asked for, nothing is missing to him.
    const bool partial = (sinceMs_ || skips_) && !begun_;
    if (!partial) entry.lostBytes = missing;
    begun_ = true;
    return std::optional(std::move(entry));
  }
}

Result<std::vector<LogEntry>> LogReader::read(std::size_t most) {
  std::vector<LogEntry> out;
  std::size_t bytes = 0;
  while (bytes < most) {
    GS_TRY(auto entry, nextEntry());
    if (!entry) break;
    bytes += entry->data.size() + kEntryCost;
    out.push_back(std::move(*entry));
  }
  return out;
}

}  // namespace gs

// Reads one sandbox's log while it is written: from a time, the last lines, or from where a reader stopped before.
//
// Blocking: for a pool's thread, one call at a time. What is forgotten while it reads is told as lost. Memory: one file
// block and one batch.
#pragma once

#include <optional>
#include <vector>

#include "agent/logs/log_files.h"
#include "agent/logs/log_record.h"

namespace gs {

// A position in a log: everything before it was read. Of an empty run: nothing was.
struct LogPosition {
  std::string run;  // kLogRunBytes
  std::uint64_t offset = 0;
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

struct LogQuery {
  std::optional<std::int64_t> sinceMs{};  // records that were read at that time or later
  std::optional<std::uint64_t> tail{};    // of those the last so many lines, of both streams together
  LogPosition after{};                    // with a run: from there on, and the other two do not count
};

struct LogEntry {
  LogKind kind = LogKind::kStdout;  // never kRun
  std::int64_t timeMs = 0;
  std::string data;
  std::uint64_t lostBytes = 0;  // so many are missing before it
  LogPosition end{};            // after it
};

class LogReader {
 public:
  explicit LogReader(std::string folder) : folder_(std::move(folder)) {}
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // Once, before read().
  [[nodiscard]] Status seek(const LogQuery& query);
  // What comes next, about `most` bytes of it and an entry more; nothing: that is all there is now, more may come.
  [[nodiscard]] Result<std::vector<LogEntry>> read(std::size_t most);

 private:
  [[nodiscard]] Result<std::optional<LogEntry>> nextEntry();
  // The next record, of this file or the next one. Nothing: there is none now.
  [[nodiscard]] Result<std::optional<LogRecord>> nextRecord();
  [[nodiscard]] bool openNext();
  void rewind();

  std::string folder_;
  std::uint64_t number_ = 0;  // of the file that is open; 0: none yet
  int file_ = -1;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::string run_;
  std::uint64_t expected_ = 0;
  std::optional<std::int64_t> sinceMs_;
  std::uint64_t skipLines_ = 0;
  bool skips_ = false;
  LogPosition after_;
  bool begun_ = false;  // something was given out, so that what is missing is told
};

}  // namespace gs

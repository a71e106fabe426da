// Writes one sandbox's log: appends records, begins a new file when one is full, and forgets the oldest.
//
// Blocking: for a pool's thread, one call at a time. Restart: open() finds where the last one stopped and cuts what a crash
// has left half-written; a process that is killed loses nothing of what append() has taken, a host that loses power may
// (nothing is synced: output is not worth an fsync a line). Limits: LogLimits, up to one record.
#pragma once

#include "agent/logs/log_files.h"
#include "agent/logs/log_record.h"

namespace gs {

class LogWriter {
 public:
  // The folder is made with the first file. Errors as the file system's.
  [[nodiscard]] static Result<LogWriter> open(std::string folder, LogLimits limits);
  ~LogWriter();
  LogWriter(LogWriter&& other) noexcept;
  LogWriter& operator=(LogWriter&&) = delete;

  // What comes next: of which run, and from which offset on. Empty: of none.
  [[nodiscard]] const std::string& run() const { return run_; }
  [[nodiscard]] std::uint64_t next() const { return next_; }
  // From now on it is this run's output, from its beginning. Repeat: nothing.
  [[nodiscard]] Status begin(const std::string& run);
  // `record.offset` is next() or later. kResourceExhausted: the disk is full, and nothing is changed.
  [[nodiscard]] Status append(LogRecord record);

 private:
  explicit LogWriter(std::string folder, LogLimits limits) : folder_(std::move(folder)), limits_(limits) {}
  // What a file says about where the log stands; false: nothing.
  [[nodiscard]] Result<bool> recover(std::uint64_t number);
  [[nodiscard]] Status startFile(std::uint64_t number);
  [[nodiscard]] Status write(const LogRecord& record);

  std::string folder_;
  LogLimits limits_;
  std::string run_;
  std::uint64_t next_ = 0;
  std::int64_t lastMs_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t size_ = 0;
  int file_ = -1;
};

}  // namespace gs

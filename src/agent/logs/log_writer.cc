#include "agent/logs/log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <tuple>
#include <utility>

namespace gs {
namespace {

Result<std::string> readWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  if (!in) return fail(ErrorCode::kUnavailable, "reading " + path);
  return std::move(out).str();
}

}  // namespace

LogWriter::~LogWriter() {
  if (file_ >= 0) ::close(file_);
}

LogWriter::LogWriter(LogWriter&& other) noexcept
    : folder_(std::move(other.folder_)),
      limits_(other.limits_),
      run_(std::move(other.run_)),
      next_(other.next_),
      lastMs_(other.lastMs_),
      number_(other.number_),
      size_(other.size_),
      file_(std::exchange(other.file_, -1)) {}

Result<LogWriter> LogWriter::open(std::string folder, LogLimits limits) {
  std::error_code error;
  LogWriter writer(std::move(folder), limits);
  const auto numbers = logFileNumbers(writer.folder_);
  for (auto it = numbers.rbegin(); it != numbers.rend(); ++it) {
    GS_TRY(const bool found, writer.recover(*it));
    if (found) return writer;
    // Begun and nothing in it that can be read: it would only stand between the others.
    std::filesystem::remove(logFilePath(writer.folder_, *it), error);
  }
  return writer;
}

Result<bool> LogWriter::recover(std::uint64_t number) {
  const auto path = logFilePath(folder_, number);
  if (std::filesystem::file_size(path) == 0) return false;
  GS_TRY(const std::string bytes, readWhole(path));
  std::string_view rest = bytes;
  LogRecord record;
  std::size_t used = 0;
  while (parseLogRecord(rest, record, used) == LogParse::kRecord) {
    rest.remove_prefix(used);
    lastMs_ = std::max(lastMs_, record.timeMs);
    if (record.kind == LogKind::kRun) run_ = std::string(record.data);
    next_ = record.kind == LogKind::kRun ? record.offset : record.offset + record.data.size();
  }
  size_ = bytes.size() - rest.size();
  if (size_ == 0 || run_.empty()) return false;
  file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  if (file_ < 0) return fail(errnoError(errno, "opening " + path));
  if (!rest.empty() && ::ftruncate(file_, static_cast<off_t>(size_)) != 0) return fail(errnoError(errno, "cutting " + path));
  number_ = number;
  return true;
}

Status LogWriter::startFile(std::uint64_t number) {
  const auto path = logFilePath(folder_, number);
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  if (failed) return fail(errnoError(failed.value(), "creating " + folder_));
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return fail(errnoError(errno, "creating " + path));
  if (file_ >= 0) ::close(file_);
  file_ = file;
  number_ = number;
  size_ = 0;
  std::error_code ignored;
  const auto numbers = logFileNumbers(folder_);
  for (std::size_t n = 0; n + limits_.files < numbers.size(); ++n) std::filesystem::remove(logFilePath(folder_, numbers[n]), ignored);
  return write({LogKind::kRun, lastMs_, next_, run_});
}

Status LogWriter::write(const LogRecord& record) {
  std::string bytes;
  appendLogRecord(bytes, record);
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const auto count = ::write(file_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const auto error = errnoError(errno, "writing a log");
      // Half a record would hide what comes after it.
      static_cast<void>(::ftruncate(file_, static_cast<off_t>(size_)));
      return fail(error);
    }
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  size_ += bytes.size();
  return {};
}

Status LogWriter::begin(const std::string& run) {
  if (run == run_) return {};
  const auto before = std::pair(run_, next_);
  run_ = run;
  next_ = 0;
  auto done = file_ < 0 ? startFile(number_ + 1) : write({LogKind::kRun, lastMs_, 0, run_});
  if (!done) std::tie(run_, next_) = before;
  return done;
}

Status LogWriter::append(LogRecord record) {
  lastMs_ = std::max(lastMs_, record.timeMs);
  record.timeMs = lastMs_;
  const auto room = limits_.bytes / limits_.files;
  if (file_ < 0 || size_ + kLogHeaderBytes + record.data.size() > room) GS_CHECK(startFile(number_ + 1));
  GS_CHECK(write(record));
  next_ = record.offset + record.data.size();
  return {};
}

}  // namespace gs

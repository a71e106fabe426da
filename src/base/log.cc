#include "base/log.h"

#include <unistd.h>

#include <atomic>

#include "base/clock.h"

namespace gs {
namespace {

std::atomic<LogLevel> minimumLevel{LogLevel::kInfo};

constexpr std::array<std::string_view, 4> kLevelNames{"debug", "info", "warn", "error"};

void appendJsonString(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

}  // namespace

void setLogLevel(LogLevel level) { minimumLevel = level; }

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level < minimumLevel.load(std::memory_order_relaxed)) return;
  std::string line = fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"event\":", formatTime(SystemClock().wallNow()),
                                 kLevelNames[static_cast<std::size_t>(level)]);
  appendJsonString(line, event);
  for (const auto& field : fields) {
    line.push_back(',');
    appendJsonString(line, field.key);
    line.push_back(':');
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      appendJsonString(line, *text);
    } else if (const auto* integer = std::get_if<std::int64_t>(&field.value)) {
      line += fmt::format("{}", *integer);
    } else if (const auto* real = std::get_if<double>(&field.value)) {
      line += fmt::format("{:.6g}", *real);
    } else {
      line += std::get<bool>(field.value) ? "true" : "false";
    }
  }
  line += "}\n";
  // A log that cannot be written must not stop the work that it describes.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace gs

// Structured logging: one JSON object a line on stderr, so that journald, a file and a person can all read it.
//
// A call gives an event name (snake_case, stable) and typed fields; there is no free-form formatting of foreign bytes
// and no way to pass a SecretString. Any thread. Lines are written with one write(2), so they never interleave.
#pragma once

#include <cstdint>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace gs {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };

struct LogField {
  std::string_view key;
  std::variant<std::string, std::int64_t, double, bool> value;

  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k) {
    if constexpr (std::same_as<T, bool>) {
      value = v;
    } else {
      value = static_cast<std::int64_t>(v);
    }
  }
};

void setLogLevel(LogLevel level);  // default kInfo
void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

inline void logDebug(std::string_view e, std::initializer_list<LogField> f = {}) { log(LogLevel::kDebug, e, f); }
inline void logInfo(std::string_view e, std::initializer_list<LogField> f = {}) { log(LogLevel::kInfo, e, f); }
inline void logWarn(std::string_view e, std::initializer_list<LogField> f = {}) { log(LogLevel::kWarn, e, f); }
inline void logError(std::string_view e, std::initializer_list<LogField> f = {}) { log(LogLevel::kError, e, f); }

}  // namespace gs

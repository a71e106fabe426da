#include "cli/quantities.h"

#include <cmath>

namespace gs::cli {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kKi = 1024.0;
constexpr std::array kByteUnits{
    Unit{"", 1},
    Unit{"b", 1},
    Unit{"k", kKi},
    Unit{"kib", kKi},
    Unit{"m", kKi* kKi},
    Unit{"mib", kKi* kKi},
    Unit{"g", kKi* kKi* kKi},
    Unit{"gib", kKi* kKi* kKi},
    Unit{"t", kKi* kKi* kKi* kKi},
    Unit{"tib", kKi* kKi* kKi* kKi},
    Unit{"kb", 1e3},
    Unit{"mb", 1e6},
    Unit{"gb", 1e9},
    Unit{"tb", 1e12},
};
constexpr std::array kTimeUnits{
    Unit{"ms", 1}, Unit{"", 1000}, Unit{"s", 1000}, Unit{"m", 60'000}, Unit{"h", 3'600'000}, Unit{"d", 86'400'000},
};
// Past this a double no longer holds every whole number.
constexpr double kLargest = 9007199254740992.0;

// Digits with at most one point, then a unit.
template <std::size_t N>
std::optional<double> parseWithUnit(std::string_view text, const std::array<Unit, N>& units) {
  std::size_t used = 0;
  double whole = 0;
  double fraction = 0;
  double scale = 1;
  int digits = 0;
  bool point = false;
  for (; used < text.size(); ++used) {
    const char c = text[used];
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    ++digits;
    if (point) {
      scale *= 10;
      fraction = fraction * 10 + (c - '0');
    } else {
      whole = whole * 10 + (c - '0');
    }
  }
  if (digits == 0 || digits > 18) return std::nullopt;
  std::string name(text.substr(used));
  if (name.starts_with(' ')) name.erase(0, 1);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const auto& unit : units) {
    if (unit.name != name) continue;
    const double value = std::round((whole + fraction / scale) * unit.factor);
    return value > kLargest ? std::nullopt : std::optional(value);
  }
  return std::nullopt;
}

std::string withOneDecimal(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

}  // namespace

Result<std::uint64_t> parseBytes(std::string_view text) {
  const auto value = parseWithUnit(text, kByteUnits);
  if (!value) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not a size: write 512MiB, 1.5GiB or a number of bytes", text));
  }
  return static_cast<std::uint64_t>(*value);
}

std::string formatBytes(std::uint64_t bytes) {
  static constexpr std::array kNames{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // Steps up before the rounding would show "1024 KiB".
  while (value >= 1023.95 && unit + 1 < kNames.size()) {
    value /= kKi;
    ++unit;
  }
  return fmt::format("{} {}", withOneDecimal(value), kNames[unit]);
}

Result<std::uint32_t> parseCpu(std::string_view text) {
  static constexpr std::array kCpuUnits{Unit{"", 1000}, Unit{"m", 1}};
  const auto value = parseWithUnit(text, kCpuUnits);
  if (!value || *value > 1e9) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a number of CPUs: write 2, 0.5 or 500m", text));
  }
  return static_cast<std::uint32_t>(*value);
}

std::string formatCpu(std::uint64_t millis) {
  std::string text = fmt::format("{:.3f}", static_cast<double>(millis) / 1000);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text;
}

Result<Millis> parseDuration(std::string_view text) {
  const auto value = parseWithUnit(text, kTimeUnits);
  // A hundred years: the steady clock counts nanoseconds and ends after 292.
  if (!value || *value > 100.0 * 365 * 86'400'000) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not a duration: write 90s, 10m, 24h or a number of seconds", text));
  }
  return Millis(static_cast<std::int64_t>(*value));
}

std::string formatDuration(Millis duration) {
  const std::int64_t seconds = std::max<std::int64_t>(duration.count(), 0) / 1000;
  const auto two = [](std::int64_t big, char bigUnit, std::int64_t small, char smallUnit) {
    return small == 0 ? fmt::format("{}{}", big, bigUnit) : fmt::format("{}{} {}{}", big, bigUnit, small, smallUnit);
  };
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return two(seconds / 60, 'm', seconds % 60, 's');
  if (seconds < 86'400) return two(seconds / 3600, 'h', seconds % 3600 / 60, 'm');
  return two(seconds / 86'400, 'd', seconds % 86'400 / 3600, 'h');
}

std::string formatAge(std::string_view rfc3339, WallTime now) {
  const auto time = parseTime(rfc3339);
  if (!time) return std::string(rfc3339);
  const auto elapsed = now - *time;
  const Millis distance = elapsed < Millis(0) ? -elapsed : elapsed;
  if (distance < Millis(1000)) return "just now";
  // One unit is enough to compare rows; two make a column hard to read.
  std::string text = formatDuration(distance);
  text.resize(std::min(text.size(), text.find(' ')));
  return elapsed < Millis(0) ? "in " + text : text + " ago";
}

std::string formatMoment(std::string_view rfc3339, WallTime now) {
  const auto time = parseTime(rfc3339);
  if (!time) return std::string(rfc3339);
  return fmt::format("{} {} UTC ({})", rfc3339.substr(0, 10), rfc3339.substr(11, 8), formatAge(rfc3339, now));
}

}  // namespace gs::cli

// Sizes, durations, CPU shares and moments, as people write and read them.
//
// Binary units are KiB, MiB, GiB, TiB; K, M, G, T and k, m, g, t mean the same, as with docker. KB, MB, GB, TB are
// powers of 1000.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace gs::cli {

// "512MiB", "1.5GiB", "1g", "1048576". kInvalidArgument with the accepted forms.
[[nodiscard]] Result<std::uint64_t> parseBytes(std::string_view text);
[[nodiscard]] std::string formatBytes(std::uint64_t bytes);  // "1.5 GiB", "512 MiB", "17 B"

// "1.5", "2", "250m": thousandths of a CPU.
[[nodiscard]] Result<std::uint32_t> parseCpu(std::string_view text);
[[nodiscard]] std::string formatCpu(std::uint64_t millis);  // "1.5"

// "90", "90s", "10m", "24h", "7d", "500ms"; a bare number is seconds.
[[nodiscard]] Result<Millis> parseDuration(std::string_view text);
// With two units at most: "3d 4h", "12m 5s", "45s".
[[nodiscard]] std::string formatDuration(Millis duration);

// "3m ago", "in 12h", "just now"; the text itself when it is no time.
[[nodiscard]] std::string formatAge(std::string_view rfc3339, WallTime now);
// "2026-01-02 03:04:05 UTC (3m ago)".
[[nodiscard]] std::string formatMoment(std::string_view rfc3339, WallTime now);

}  // namespace gs::cli

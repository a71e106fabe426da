#include "agent/logs/log_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace gs {
namespace {

constexpr std::size_t kDigits = 10;
constexpr std::string_view kEnding = ".log";

}  // namespace

std::string logFilePath(const std::string& folder, std::uint64_t number) { return fmt::format("{}/{:010}{}", folder, number, kEnding); }

std::vector<std::uint64_t> logFileNumbers(const std::string& folder) {
  std::vector<std::uint64_t> out;
  std::error_code error;
  for (auto it = std::filesystem::directory_iterator(folder, error); !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    const auto name = it->path().filename().string();
    if (name.size() != kDigits + kEnding.size() || !name.ends_with(kEnding)) continue;
    std::uint64_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + kDigits, number);
    if (bad == std::errc() && end == name.data() + kDigits) out.push_back(number);
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace gs

#include "agent/telemetry/host_probe.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "base/version.h"

namespace gs {
namespace {

std::string readText(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return std::string(text);
}

template <class F>
void forEachLine(std::string_view text, F onLine) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    onLine(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::string architectureName(std::string_view machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return std::string(machine);
}

std::string firstCpuModel(std::string_view cpuinfo) {
  std::string model;
  forEachLine(cpuinfo, [&](std::string_view line) {
    if (model.empty() && line.starts_with("model name")) model = trimmed(line.substr(std::min(line.size(), line.find(':') + 1)));
  });
  return model;
}

}  // namespace

std::pair<std::string, std::string> parseOsRelease(std::string_view text) {
  std::string name, version;
  forEachLine(text, [&](std::string_view line) {
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return;
    std::string value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front()) {
      value = value.substr(1, value.size() - 2);
    }
    if (line.substr(0, equals) == "NAME") name = value;
    if (line.substr(0, equals) == "VERSION_ID") version = value;
  });
  return {name, version};
}

std::uint64_t parseMemInfo(std::string_view text, std::string_view key) {
  std::uint64_t kib = 0;
  forEachLine(text, [&](std::string_view line) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') return;
    const std::string number = trimmed(line.substr(key.size() + 1));
    std::from_chars(number.data(), number.data() + number.size(), kib);
  });
  return kib * 1024;
}

std::vector<std::string> parseTraits(std::string_view text) {
  std::vector<std::string> out;
  std::string current;
  const auto finish = [&] {
    const bool clean = !current.empty() && current.size() <= 63 && std::isalnum(static_cast<unsigned char>(current[0])) &&
                       std::ranges::all_of(current, [](unsigned char c) {
                         return std::isdigit(c) != 0 || (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';
                       });
    if (clean) out.push_back(current);
    current.clear();
  };
  for (const char c : text) {
    if (c == ',' || std::isspace(static_cast<unsigned char>(c)) != 0) {
      finish();
    } else {
      current.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  finish();
  return out;
}

std::array<std::uint32_t, 3> parseLoad(std::string_view text) {
  std::array<std::uint32_t, 3> out{};
  std::istringstream in{std::string(text)};
  for (auto& load : out) {
    double value = 0;
    if (in >> value) load = static_cast<std::uint32_t>(value * 1000 + 0.5);
  }
  return out;
}

HostFacts HostProbe::readFacts() const {
  HostFacts facts;
  facts.agentVersion = std::string(versionString());
  std::tie(facts.osName, facts.osVersion) = parseOsRelease(readText(settings_.root + "/etc/os-release"));
  utsname names{};
  if (::uname(&names) == 0) {
    facts.architecture = architectureName(names.machine);
    facts.kernel = names.release;
    facts.hostname = names.nodename;
  }
  facts.cpuCount = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  facts.cpuModel = firstCpuModel(readText(settings_.root + "/proc/cpuinfo"));
  facts.memoryBytes = parseMemInfo(readText(settings_.root + "/proc/meminfo"), "MemTotal");
  struct statvfs disk {};
  if (::statvfs(settings_.stateDir.c_str(), &disk) == 0) facts.diskBytes = disk.f_blocks * disk.f_frsize;
  facts.bootId = trimmed(readText(settings_.root + "/proc/sys/kernel/random/boot_id"));

  std::set<std::string> traits{"linux", facts.architecture};
  const int kvm = ::open((settings_.root + "/dev/kvm").c_str(), O_RDWR | O_CLOEXEC);
  if (kvm >= 0) {
    traits.insert("kvm");
    ::close(kvm);
  }
  for (auto& trait : parseTraits(settings_.traitList)) traits.insert(std::move(trait));
  facts.traits.assign(traits.begin(), traits.end());
  if (facts.traits.size() > 64) facts.traits.resize(64);
  return facts;
}

HostTelemetry HostProbe::readTelemetry() const {
  HostTelemetry out;
  out.memoryAvailableBytes = parseMemInfo(readText(settings_.root + "/proc/meminfo"), "MemAvailable");
  struct statvfs disk {};
  if (::statvfs(settings_.stateDir.c_str(), &disk) == 0) out.diskFreeBytes = disk.f_bavail * disk.f_frsize;
  out.uptimeSeconds = static_cast<std::uint64_t>(std::atof(readText(settings_.root + "/proc/uptime").c_str()));
  const auto load = parseLoad(readText(settings_.root + "/proc/loadavg"));
  out.load1Milli = load[0];
  out.load5Milli = load[1];
  out.load15Milli = load[2];
  std::uint64_t pages = 0;
  std::istringstream statm(readText(settings_.root + "/proc/self/statm"));
  statm >> pages >> pages;
  out.agentRssBytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return out;
}

}  // namespace gs

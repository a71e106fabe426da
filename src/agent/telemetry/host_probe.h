// Reads what this host is and how it fares from /proc, /etc/os-release and the file system.
//
// Every source is optional: what cannot be read is left empty or zero, and the rest is reported. Pure parsing is apart
// from reading, so that tests feed texts. Any thread; a reading takes well under a millisecond.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire/host_types.h"

namespace gs {

struct HostProbeSettings {
  std::string root;       // "" for the real host; a folder in tests
  std::string stateDir;   // whose file system's size is reported
  std::string traitList;  // AGENT_TRAITS: separated by commas or spaces
};

class HostProbe {
 public:
  explicit HostProbe(HostProbeSettings settings) : settings_(std::move(settings)) {}

  // Everything but runtimes and conditions, which the runtimes report. Traits: linux, the architecture, kvm when
  // /dev/kvm can be opened, and the configured ones that are well-formed; sorted, without repeats.
  [[nodiscard]] HostFacts readFacts() const;
  [[nodiscard]] HostTelemetry readTelemetry() const;

 private:
  HostProbeSettings settings_;
};

// "Debian GNU/Linux", "12" from os-release(5).
[[nodiscard]] std::pair<std::string, std::string> parseOsRelease(std::string_view text);
// Bytes of one line of /proc/meminfo; 0 when absent.
[[nodiscard]] std::uint64_t parseMemInfo(std::string_view text, std::string_view key);
// Well-formed: 1..63 of a-z 0-9 . _ -, starting with a letter or digit; upper case is lowered. Others are dropped.
[[nodiscard]] std::vector<std::string> parseTraits(std::string_view text);
// The three load averages in thousandths.
[[nodiscard]] std::array<std::uint32_t, 3> parseLoad(std::string_view text);

}  // namespace gs

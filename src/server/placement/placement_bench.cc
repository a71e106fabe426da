// How long one placement decision takes over a large pool. Prints one JSON line; exit code 1 when it is over the bar.
//
//   server_placement_bench [hosts]      default 10000, bar 1 ms
//
// Every host differs: half fit, the others fail at each of the rules. No host is looked at twice in a row, so caches help
// no more than they do in the server.
#include <algorithm>
#include <charconv>

#include "server/placement/placement.h"

namespace gs {
namespace {

constexpr int kDecisions = 300;
constexpr double kBarMs = 1.0;

HostLoad makeHost(std::size_t n, ClusterId cluster) {
  HostLoad load;
  HostRecord& host = load.host;
  host.id = HostId::make();
  host.name = fmt::format("rack-{}", n);
  host.clusterId = std::move(cluster);
  host.state = n % 20 == 1 ? HostState::kDisconnected : HostState::kConnected;
  host.tags = {{"zone", n % 10 == 3 ? "b" : "a"}, {"rack", fmt::format("{}", n / 40)}};
  host.facts.architecture = n % 10 == 5 ? "arm64" : "amd64";
  host.facts.cpuCount = 8;
  host.facts.memoryBytes = 32ULL << 30;
  host.facts.traits = {"amd64", "docker", "kvm", "linux"};
  host.facts.runtimes = {{"docker", n % 10 == 7 ? RuntimeState::kUnhealthy : RuntimeState::kHealthy, "20.10", ""},
                         {"sbx", RuntimeState::kComingSoon, "", "coming soon"}};
  host.cordoned = n % 20 == 9;
  host.sandboxCount = static_cast<std::int64_t>(n % 50);
  load.memoryBytes = n % 10 == 9 ? host.facts.memoryBytes : (n * 7919 % 31) << 30;
  load.cpuMillis = (n % 50) * 1000;
  load.holdsBlueprint = n % 3 == 0;
  return load;
}

int run(std::size_t count) {
  const auto cluster = ClusterId::make();
  std::vector<HostLoad> hosts;
  for (std::size_t n = 0; n < count; ++n) hosts.push_back(makeHost(n, cluster));
  PlacementRequest request;
  request.cluster = cluster;
  request.architecture = "amd64";
  request.traits = {"docker"};
  request.tags = {{"zone", "a"}};
  std::vector<double> times;
  std::size_t check = 0;
  for (int n = 0; n < kDecisions; ++n) {
    const auto start = std::chrono::steady_clock::now();
    const auto chosen = chooseHost(request, hosts);
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    if (!chosen) return 1;
    // As in a burst: what was decided weighs on the next decision.
    hosts[*chosen].memoryBytes += request.resources.memoryBytes;
    check += *chosen;
  }
  std::sort(times.begin(), times.end());
  const double p50 = times[times.size() / 2];
  const double p99 = times[times.size() * 99 / 100];
  fmt::print("{{\"bench\":\"placement\",\"hosts\":{},\"decisions\":{},\"p50Ms\":{:.3f},\"p99Ms\":{:.3f},\"barMs\":{},\"check\":{}}}\n",
             count, kDecisions, p50, p99, kBarMs, check);
  return p50 <= kBarMs ? 0 : 1;
}

}  // namespace
}  // namespace gs

int main(int argc, char** argv) {
  std::size_t count = 10'000;
  if (argc > 1) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), count);
  return gs::run(count);
}

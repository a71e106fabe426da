// Runs the deterministic simulation: fresh seeds, or one seed again.
//
//   gstacks-sim --seeds N [--first SEED]   N seeds, fresh ones unless the first is given (then it and its successors)
//   gstacks-sim --seconds S                fresh seeds for that long
//   gstacks-sim --hunt N [--first SEED]    up to N seeds, until one breaks a rule, which must be: the exit code is the other way round
//   gstacks-sim --seed X                   one seed, twice, with every event; the two runs must be equal
// Exit 0: every rule held. 1: a rule was broken; the seed and the rule are printed. 2: bad usage.
#include <sqlite3.h>
#include <sys/random.h>
#include <sys/time.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>

#include "world.h"

namespace {

using gs::sim::Echo;

std::uint64_t freshSeed() {
  std::uint64_t seed = 0;
  [[maybe_unused]] const auto got = ::getrandom(&seed, sizeof seed, 0);
  return seed % 1'000'000'000'000ULL;
}

// A step of the loop that never ends is a broken rule, too, which nothing inside can tell.
constexpr int kMostSeconds = 10;  // of the processor, for one seed
volatile std::uint64_t present = 0;
volatile int exitCodeWhenStuck = 1;

void stuck(int) {
  char text[96];
  const int size = std::snprintf(text, sizeof text, "seed %llu hash 0: liveness: a step of the loop does not end\n",
                                 static_cast<unsigned long long>(present));
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, text, static_cast<std::size_t>(size));
  ::_exit(exitCodeWhenStuck);
}

void watch(std::uint64_t seed) {
  present = seed;
  const itimerval timer{{0, 0}, {kMostSeconds, 0}};
  ::setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

int replay(std::uint64_t seed) {
  watch(seed);
  const auto first = gs::sim::simulate(seed, Echo::kYes);
  const auto second = gs::sim::simulate(seed, Echo::kNo);
  fmt::print("seed {} hash {:016x}, again {:016x}; {} ms simulated in {} steps: {}\n", seed, first.hash, second.hash, first.simulatedMs,
             first.steps, first.violation.empty() ? "every rule held" : first.violation);
  if (first.hash != second.hash) fmt::print("The two runs of one seed differ.\n");
  return first.violation.empty() && first.hash == second.hash ? 0 : 1;
}

struct Totals {
  std::uint64_t seeds = 0;
  std::uint64_t failed = 0;
  std::int64_t simulatedMs = 0;
  std::uint64_t hash = 0;  // of all events of all seeds: the same for the same seeds and sources
};

void runOne(std::uint64_t seed, Totals& totals) {
  watch(seed);
  const auto verdict = gs::sim::simulate(seed, Echo::kNo);
  ++totals.seeds;
  totals.simulatedMs += verdict.simulatedMs;
  totals.hash = (totals.hash ^ verdict.hash) * 1099511628211ULL;
  if (verdict.violation.empty()) return;
  ++totals.failed;
  fmt::print("seed {} hash {:016x}: {}\n", seed, verdict.hash, verdict.violation);
  std::fflush(stdout);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

int main(int count, char** arguments) {
  // One thread, and nobody asks how much memory is used.
  sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  std::map<std::string, std::uint64_t> options;
  for (int i = 1; i + 1 < count; i += 2) {
    const auto value = number(arguments[i + 1]);
    if (value) options[arguments[i]] = *value;
  }
  if (count % 2 == 0 || options.size() != static_cast<std::size_t>(count - 1) / 2 || options.empty()) {
    fmt::print(stderr, "usage: gstacks-sim --seed X | --seeds N [--first SEED] | --seconds S | --hunt N [--first SEED]\n");
    return 2;
  }
  std::signal(SIGVTALRM, stuck);
  if (options.contains("--seed")) return replay(options["--seed"]);
  const bool fresh = !options.contains("--first");
  std::uint64_t seed = fresh ? freshSeed() : options["--first"];
  fmt::print("{} seeds from {}\n", fresh ? "fresh" : "given", seed);
  std::fflush(stdout);
  Totals totals;
  const auto began = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  if (options.contains("--hunt")) {
    exitCodeWhenStuck = 0;
    while (totals.failed == 0 && totals.seeds < options["--hunt"]) runOne(seed++, totals);
    return totals.failed != 0 ? 0 : 1;
  }
  while (options.contains("--seconds") ? elapsed() < static_cast<double>(options["--seconds"]) : totals.seeds < options["--seeds"]) {
    runOne(seed++, totals);
  }
  fmt::print("{} seeds, {} broke a rule; {:.0f} s simulated in {:.1f} s, {:.0f} seeds a minute; hash {:016x}\n", totals.seeds,
             totals.failed, static_cast<double>(totals.simulatedMs) / 1000, elapsed(), static_cast<double>(totals.seeds) * 60 / elapsed(),
             totals.hash);
  return totals.failed == 0 ? 0 : 1;
}

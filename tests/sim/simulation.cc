#include <utility>

#include "async/blocking_pool.h"
#include "simulation.h"

namespace gs::sim {
namespace {

constexpr unsigned kDieAtDisk = 3;
constexpr unsigned kFailedWrite = 2;

}  // namespace

void Simulation::after(std::chrono::nanoseconds delay, std::move_only_function<void()> what) {
  auto timer = std::make_unique<asio::steady_timer>(loop, delay);
  auto& waiting = *timer;
  waiting.async_wait([timer = std::move(timer), what = std::move(what)](const boost::system::error_code&) mutable { what(); });
}

void Simulation::violate(std::string rule, std::string what) {
  if (!violation_.empty()) return;
  violation_ = rule + ": " + what;
  trace("VIOLATION {}", violation_);
}

void Process::die(std::string_view where) {
  if (!alive_) return;
  alive_ = false;
  simulation_.trace("{} dies at {}", name_, where);
  died();
  simulation_.changed.notifyAll();
}

Task<void> Process::keep() {
  while (!simulation_.over) {
    alive_ = true;
    ++life_;
    simulation_.trace("{} starts, life {}", name_, life_);
    if (const auto started = co_await start(); !started) die("start: " + started.error().message);
    while (alive_ && !simulation_.over) co_await simulation_.changed.waitUntil(Deadline::never());
    die("the end");
    co_await unwind();
    if (!simulation_.over) co_await sleepFor(simulation_.random.between(Millis(50), Millis(3000)));
  }
}

void Disk::submit(Job job) {
  if (std::exchange(observed_, false)) {
    asio::post(simulation_.loop, [job = std::move(job)]() mutable { job(Status()); });
    return;
  }
  const auto now = simulation_.machine.nanoseconds();
  const auto takes = 50'000 + static_cast<std::int64_t>(simulation_.random.below(simulation_.mishap(20) ? 400'000'000 : 1'500'000));
  last_ = std::max(last_ + 1'000, now + takes);
  simulation_.after(std::chrono::nanoseconds(last_ - now), [this, life = owner_.life(), job = std::move(job)]() mutable {
    const auto lost = [] { return fail(ErrorCode::kUnavailable, "the process died"); };
    owner_.mayDie(kDieAtDisk, "a write that was not done");
    if (life != 0 && !owner_.isLife(life)) return job(lost());
    if (full_) return job(fail(ErrorCode::kResourceExhausted, "the disk is full"));
    if (simulation_.mishap(kFailedWrite)) return job(fail(ErrorCode::kUnavailable, "the disk does not do it"));
    ++jobs;
    job(Status());
    owner_.mayDie(kDieAtDisk, "a write that was done");
  });
}

}  // namespace gs::sim

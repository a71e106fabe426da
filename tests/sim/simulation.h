// One run: the loop, the seeded choices, what goes wrong when, and the first rule that was seen broken.
//
// Everything else of a simulation hangs on this one object. Loop thread only. Lifetime: outlives all parts of the world.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <string>

#include "async/blocking_pool.h"
#include "async/event.h"
#include "async/task_group.h"
#include "virtual_machine.h"

namespace gs::sim {

class Simulation {
 public:
  Simulation(std::uint64_t seed, Echo echo)
      : machine(seed, echo), random(seed), loop(1), changed(loop.get_executor()), seed_(seed) {}

  VirtualMachine machine;
  Random random;
  asio::io_context loop;
  Event changed;        // a process died, or the faults ended
  bool faulty = false;  // things go wrong at present
  unsigned clumsiness = 1;  // how often small things go wrong; 0: only the big ones
  bool over = false;    // the processes end and are not started again

  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] Executor executor() { return loop.get_executor(); }
  // A fault, with that chance in a thousand, while things go wrong.
  [[nodiscard]] bool mishap(unsigned perMille) { return faulty && clumsiness != 0 && random.chance(perMille * clumsiness); }
  // Runs `what` later. Calls with growing delays from one place run in order.
  void after(std::chrono::nanoseconds delay, std::move_only_function<void()> what);
  template <class... T>
  void trace(fmt::format_string<T...> format, T&&... values) {
    machine.trace(fmt::format(format, std::forward<T>(values)...));
  }
  // A rule is broken. The first one counts, and ends the run.
  void violate(std::string rule, std::string what);
  [[nodiscard]] const std::string& violation() const { return violation_; }

 private:
  std::uint64_t seed_;
  std::string violation_;
};

// A machine's own time: its wall clock may be wrong and may jump.
class HostClock final : public Clock {
 public:
  [[nodiscard]] WallTime wallNow() const override { return SystemClock().wallNow() + shift; }
  [[nodiscard]] SteadyTime steadyNow() const override { return SystemClock().steadyNow(); }
  Millis shift{0};
};

// A program that can die: what it did before stays, what it would do afterwards does not happen.
//
// die() takes effect within the call: from then on its disk loses what was not done yet, its connections are broken and
// its calls do nothing. Its coroutines are unwound afterwards, by cancellation, in a world that no longer hears them.
class Process {
 public:
  Process(Simulation& simulation, std::string name) : simulation_(simulation), name_(std::move(name)) {}
  virtual ~Process() = default;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool alive() const { return alive_; }
  // Tells one life from the next.
  [[nodiscard]] std::uint64_t life() const { return life_; }
  [[nodiscard]] bool isLife(std::uint64_t life) const { return alive_ && life_ == life; }
  void die(std::string_view where);
  // Dies here, with that chance in a thousand, while things go wrong.
  void mayDie(unsigned perMille, std::string_view where) {
    if (alive_ && simulation_.mishap(perMille)) die(where);
  }
  // Lives, dies and is started again until the simulation is over.
  [[nodiscard]] Task<void> keep();

 protected:
  // Brings it up; an error is a death.
  [[nodiscard]] virtual Task<Status> start() = 0;
  // Unwinds what start() made, however far it came.
  [[nodiscard]] virtual Task<void> unwind() = 0;
  // At the moment of death.
  virtual void died() {}

  Simulation& simulation_;

 private:
  std::string name_;
  bool alive_ = false;
  std::uint64_t life_ = 0;
};

// The disk of a process: work is done in order, each after a moment; a death loses what was not done, and may come
// between the work and its answer. While things go wrong a piece of work may fail and not be done.
class Disk final : public WorkRunner {
 public:
  Disk(Simulation& simulation, Process& owner) : simulation_(simulation), owner_(owner) {}
  void submit(Job job) override;
  // The next job is done at once and is never lost: for what looks at the world from outside.
  void observeNext() { observed_ = true; }
  void setFull(bool full) {
    full_ = full;
    fullLast_ = simulation_.machine.nanoseconds();
  }
  // It was full at some time since then.
  [[nodiscard]] bool wasFull(std::int64_t since) const { return full_ || fullLast_ >= since; }
  std::uint64_t jobs = 0;  // done so far; as long as it is the same, what is on it is

 private:
  Simulation& simulation_;
  Process& owner_;
  bool full_ = false;
  std::int64_t fullLast_ = -1;
  std::int64_t last_ = 0;
  bool observed_ = false;
};

}  // namespace gs::sim

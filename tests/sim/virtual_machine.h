// The part of the operating system that makes a run differ from the next: clocks, waiting, random bytes, the log.
//
// While a VirtualMachine is installed on a thread, the C library's clock_gettime, epoll_wait, getrandom and writes to
// stderr are answered by it: this program defines those functions itself (virtual_machine.cc). The production code is
// thereby simulated as it is, without a seam in it: an Asio loop that has nothing ready asks epoll to wait for its
// earliest timer, and that wait is what moves the time on. Nothing else moves it.
// One a thread. The loop must be made after it is installed. No sockets, no other threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "random.h"

namespace gs::sim {

enum class Echo : std::uint8_t { kNo, kYes };

class VirtualMachine {
 public:
  VirtualMachine(std::uint64_t seed, Echo echo);  // installs itself
  ~VirtualMachine();
  VirtualMachine(const VirtualMachine&) = delete;
  VirtualMachine& operator=(const VirtualMachine&) = delete;

  [[nodiscard]] static VirtualMachine* installed();

  [[nodiscard]] std::int64_t nanoseconds() const { return now_; }
  void advance(std::int64_t nanoseconds) { now_ += nanoseconds; }
  void fillRandom(void* to, std::size_t count);

  // One line of what happened, with its time. All lines make the hash by which two runs are compared.
  void trace(std::string_view line);
  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  std::int64_t now_ = 1'000'000'000'000;  // since boot; the wall clock starts in 2026
  Random entropy_;
  std::uint64_t hash_ = 14695981039346656037ULL;
  Echo echo_;
};

}  // namespace gs::sim

#include "virtual_machine.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace gs::sim {
namespace {

thread_local VirtualMachine* machine = nullptr;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kWallAtBoot = 1'767'225'600 - 1'000;  // so that the first line is of 2026-01-01T00:00:00Z

}  // namespace

VirtualMachine::VirtualMachine(std::uint64_t seed, Echo echo) : entropy_(seed ^ 0x5eed0f7e57ULL), echo_(echo) { machine = this; }
VirtualMachine::~VirtualMachine() { machine = nullptr; }
VirtualMachine* VirtualMachine::installed() { return machine; }

void VirtualMachine::fillRandom(void* to, std::size_t count) {
  auto* out = static_cast<unsigned char*>(to);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<unsigned char>(entropy_.next() >> 32);
}

void VirtualMachine::trace(std::string_view line) {
  const auto mix = [this](unsigned char byte) { hash_ = (hash_ ^ byte) * 1099511628211ULL; };
  for (int shift = 0; shift < 64; shift += 8) mix(static_cast<unsigned char>(now_ >> shift));
  for (const char c : line) mix(static_cast<unsigned char>(c));
  if (echo_ == Echo::kNo) return;
  const std::int64_t since = now_ - 1'000 * kSecond;
  const auto text = fmt::format("{:4d}.{:06d} {}\n", since / kSecond, since % kSecond / 1000, line);
  [[maybe_unused]] const auto written = ::syscall(SYS_write, STDOUT_FILENO, text.data(), text.size());
}

}  // namespace gs::sim

// What the C library would have answered. Exceptions and attributes as in its headers.
extern "C" {

int clock_gettime(clockid_t id, struct timespec* out) noexcept {
  const auto* m = gs::sim::VirtualMachine::installed();
  if (m == nullptr) return static_cast<int>(::syscall(SYS_clock_gettime, id, out));
  std::int64_t now = m->nanoseconds();
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now += gs::sim::kWallAtBoot * gs::sim::kSecond;
  out->tv_sec = now / gs::sim::kSecond;
  out->tv_nsec = now % gs::sim::kSecond;
  return 0;
}

int epoll_wait(int fd, struct epoll_event* events, int count, int timeout) {
  auto* m = gs::sim::VirtualMachine::installed();
  if (m == nullptr) return static_cast<int>(::syscall(SYS_epoll_wait, fd, events, count, timeout));
  if (timeout > 0) m->advance(std::int64_t{timeout} * 1'000'000);
  return 0;
}

// The loop's only descriptor is the one by which it wakes itself from another thread, and there is none.
int epoll_ctl(int fd, int operation, int target, struct epoll_event* event) noexcept {
  if (gs::sim::VirtualMachine::installed() != nullptr) return 0;
  return static_cast<int>(::syscall(SYS_epoll_ctl, fd, operation, target, event));
}

// Without one Asio tells epoll_wait how long to wait.
int timerfd_create(clockid_t id, int flags) noexcept {
  if (gs::sim::VirtualMachine::installed() == nullptr) return static_cast<int>(::syscall(SYS_timerfd_create, id, flags));
  errno = ENOSYS;
  return -1;
}

ssize_t getrandom(void* to, size_t count, unsigned flags) {
  auto* m = gs::sim::VirtualMachine::installed();
  if (m == nullptr) return ::syscall(SYS_getrandom, to, count, flags);
  m->fillRandom(to, count);
  return static_cast<ssize_t>(count);
}

ssize_t write(int fd, const void* from, size_t count) {
  auto* m = gs::sim::VirtualMachine::installed();
  if (m == nullptr || fd != STDERR_FILENO) return ::syscall(SYS_write, fd, from, count);
  std::string_view line(static_cast<const char*>(from), count);
  if (line.ends_with('\n')) line.remove_suffix(1);
  m->trace(line);
  return static_cast<ssize_t>(count);
}

}  // extern "C"

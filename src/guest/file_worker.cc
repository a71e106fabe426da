#include "guest/file_worker.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "guest/file_operations.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr int kSocket = 3;
constexpr rlim_t kMaxDescriptors = 1'024;
constexpr rlim_t kMaxAddressSpace = 128 << 20;
// For the peer to take the last words of an operation that failed while it was still sending.
constexpr unsigned kDrainSeconds = 10;
constexpr std::size_t kMaxMessage = 1'000;

void limit(int which, rlim_t value) {
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource>(which), &now) != 0) return;
  if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) value = now.rlim_max;
  const rlimit wanted{value, value};
  ::setrlimit(static_cast<__rlimit_resource>(which), &wanted);
}

// What of the guest must not be here: its descriptors, its signals, its protection.
void settle(int socket, std::optional<int> oomScoreAdj) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, "gstacks-files");
  if (socket != kSocket) ::dup2(socket, kSocket);
  ::syscall(SYS_close_range, kSocket + 1U, ~0U, 0);
  ::fcntl(kSocket, F_SETFL, 0);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(0);
  if (oomScoreAdj) {
    const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    const auto text = std::to_string(*oomScoreAdj);
    if (file >= 0) {
      [[maybe_unused]] const auto written = ::write(file, text.data(), text.size());
      ::close(file);
    }
  }
  limit(RLIMIT_NOFILE, kMaxDescriptors);
  limit(RLIMIT_AS, kMaxAddressSpace);
  limit(RLIMIT_CORE, 0);
}

void serve() {
  FileConnection connection(kSocket);
  const auto first = connection.read();
  if (!first) return;
  FileResult<FileDone> result = fileFail(pb::FileError::KIND_INVALID, "the first frame is no request");
  if (first->has_request()) result = carryOut(connection, first->request());
  pb::FileFrame last;
  if (result) {
    *last.mutable_done() = *result;
    return connection.send(last);
  }
  last.mutable_error()->set_kind(result.error().kind);
  last.mutable_error()->set_message(result.error().message.substr(0, kMaxMessage));
  connection.send(last);
  ::alarm(kDrainSeconds);
  connection.drain();
}

}  // namespace

void runFileWorker(int socket, std::optional<int> oomScoreAdj) {
  settle(socket, oomScoreAdj);
  serve();
  ::_exit(0);
}

}  // namespace gs::guest
